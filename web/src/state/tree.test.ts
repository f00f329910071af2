import { describe, expect, it } from "vitest";
import { answer, message } from "../testing";
import { messagesOf, newestLeaf, pathTo, putMessage, versionsOf } from "./tree";

/** q1 has the answers a1 and a2; q2 follows a1; q1b is another wording of q1. */
const tree = messagesOf([
  message("q1", null),
  answer("a1", "q1"),
  answer("a2", "q1"),
  message("q1b", null),
  answer("b1", "q1b"),
  message("q2", "a1"),
  answer("a3", "q2"),
]);

describe("the tree of messages", () => {
  it("walks from the root to a leaf", () => {
    expect(pathTo(tree, "a3")).toEqual(["q1", "a1", "q2", "a3"]);
    expect(pathTo(tree, "b1")).toEqual(["q1b", "b1"]);
    expect(pathTo(tree, null)).toEqual([]);
    expect(pathTo(tree, "unknown")).toEqual([]);
  });

  it("survives a cycle and a parent that is missing", () => {
    const broken = messagesOf([message("x", "y"), message("y", "x"), message("z", "gone")]);
    expect(pathTo(broken, "x")).toEqual(["y", "x"]);
    expect(pathTo(broken, "z")).toEqual(["z"]);
  });

  it("finds the newest leaf of the whole and of a branch", () => {
    expect(newestLeaf(tree, null)).toBe("a3");
    expect(newestLeaf(tree, "a2")).toBe("a2");
    expect(newestLeaf(tree, "q1")).toBe("a3");
    expect(newestLeaf(tree, "q1b")).toBe("b1");
    expect(newestLeaf(messagesOf([]), null)).toBeNull();
  });

  it("lists the versions of questions and of answers", () => {
    expect(versionsOf(tree, "a2")).toEqual(["a1", "a2"]);
    expect(versionsOf(tree, "q1")).toEqual(["q1", "q1b"]);
    expect(versionsOf(tree, "a3")).toEqual(["a3"]);
    expect(versionsOf(tree, "unknown")).toEqual([]);
  });

  it("adds and replaces without changing what was there", () => {
    const replaced = putMessage(tree, answer("a1", "q1", { content: "new" }));
    expect(replaced.order).toBe(tree.order);
    expect(replaced.byId["a1"]?.content).toBe("new");
    expect(tree.byId["a1"]?.content).toBe("a1");
    expect(putMessage(tree, message("q3", "a3")).order.at(-1)).toBe("q3");
  });
});
