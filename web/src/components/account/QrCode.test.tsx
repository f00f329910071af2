import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, expect, it } from "vitest";
import { QrCode, runs } from "./QrCode";

afterEach(cleanup);

it.each([
  ["", []],
  ["....", []],
  ["#", [[0, 1]]],
  [
    "##.#",
    [
      [0, 2],
      [3, 1],
    ],
  ],
  [".###.", [[1, 3]]],
])("finds the dark runs of %j", (row, found) => {
  expect(runs([...row].map((module) => module === "#"))).toEqual(found);
});

it("draws the three marks by which a camera finds the code, in a border of four", () => {
  render(<QrCode text="otpauth://totp/Cachalot:ahab?secret=GEZDGNBVGY3TQOJQ" label="the code" />);
  const picture = screen.getByRole("img", { name: "the code" });
  const size = Number(picture.getAttribute("viewBox")?.split(" ")[2]);
  const path = picture.querySelector("path")?.getAttribute("d") ?? "";
  // The upper edges of the marks, seven modules wide.
  for (const [x, y] of [
    [4, 4],
    [size - 11, 4],
    [4, size - 11],
  ])
    expect(path).toContain(`M${x} ${y}h7v1h-7z`);
  const [left, right] = [/M[0-3] /, new RegExp(`M${size - 4} `)];
  expect(path).not.toMatch(left);
  expect(path).not.toMatch(right);
});
