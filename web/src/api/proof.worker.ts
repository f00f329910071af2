import { type Said, type Share, solveShare } from "./solver";

const say = (said: Said): void => self.postMessage(said);

self.addEventListener("message", ({ data }: MessageEvent<Share>) => {
  solveShare(data, say).catch((error: unknown) => say({ failed: String(error) }));
});
