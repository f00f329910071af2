import { type KeyboardEvent, useEffect, useId, useState } from "react";

/**
 * A field with a list to choose from: the focus stays in the field, whose keys move through the list, as WAI-ARIA's combobox
 * does. The first option is the one that Enter takes, until another one is moved to.
 */
export function useListbox(count: number, onChoose: (index: number) => void) {
  const id = useId();
  const [moved, setMoved] = useState(0);
  const active = Math.min(moved, count - 1);
  const optionId = (index: number): string => `${id}-${index}`;
  const shown = active < 0 ? null : `${id}-${active}`;
  useEffect(() => {
    if (shown !== null) document.getElementById(shown)?.scrollIntoView({ block: "nearest" });
  }, [shown]);
  const onKeyDown = (event: KeyboardEvent) => {
    // An input method has these keys for itself.
    if (event.nativeEvent.isComposing || event.keyCode === 229 || count === 0) return;
    if (event.key === "ArrowDown") setMoved((active + 1) % count);
    else if (event.key === "ArrowUp") setMoved((active + count - 1) % count);
    else if (event.key === "Enter") onChoose(active);
    else return;
    event.preventDefault();
  };
  return {
    active,
    /** Moves to an option; the first one when the list is another. */
    moveTo: setMoved,
    field: {
      role: "combobox",
      "aria-autocomplete": "list",
      "aria-expanded": count > 0,
      "aria-controls": id,
      "aria-activedescendant": shown ?? undefined,
      onKeyDown,
    } as const,
    listId: id,
    option: (index: number) =>
      ({
        role: "option",
        id: optionId(index),
        "aria-selected": index === active,
        onPointerMove: () => setMoved(index),
        onClick: () => onChoose(index),
      }) as const,
  };
}
