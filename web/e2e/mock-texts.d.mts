export const thought: string;
export const rich: string;
