import { useCallback, useState } from "react";

/** What there is to say, put into words each time that it is shown: they follow the language. */
export type Words<T> = (t: T) => string;

const nothing = () => "";

/** What was said last, as a status line shows it with the texts of now, and the way to say something else. */
export function useSaid<T>(t: T): [said: string, say: (words: Words<T> | null) => void] {
  const [words, setWords] = useState<Words<T>>(() => nothing);
  // A state that is a function would be called.
  const say = useCallback((next: Words<T> | null) => setWords(() => next ?? nothing), []);
  return [words(t), say];
}
