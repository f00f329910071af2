import type { LucideIcon } from "lucide-react";
import type { ComponentProps } from "react";

interface Props extends ComponentProps<"button"> {
  icon: LucideIcon;
  label: string;
  size?: number;
}

/** A button with an icon only: its label is its name and its tip. */
export function IconButton({ icon: Icon, label, size = 18, className = "", ...rest }: Props) {
  return (
    <button
      type="button"
      className={`button-icon ${className}`}
      aria-label={label}
      data-tip={label}
      {...rest}
    >
      <Icon size={size} aria-hidden />
    </button>
  );
}
