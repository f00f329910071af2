import { type FormEvent, useCallback, useEffect, useRef, useState } from "react";
import { type FieldName, type Problem, type Refusal, refusalOf } from "../../state/account";

export type Values = Readonly<Record<FieldName, string>>;
export type Problems = Partial<Record<FieldName, Problem>>;

const noProblems: Problems = {};

function valuesOf(form: HTMLFormElement): Values {
  const data = new FormData(form);
  const text = (name: FieldName): string => String(data.get(name) ?? "");
  return {
    token: text("token"),
    login: text("login"),
    name: text("name"),
    email: text("email"),
    old: text("old"),
    password: text("password"),
    code: text("code"),
  };
}

/** The seconds that are left of a wait; each wait is an object of its own. */
function useCountdown(refusal: Refusal | null): number {
  const [left_s, setLeft] = useState(0);
  useEffect(() => {
    const wait_s = refusal?.wait_s ?? 0;
    const end_ms = Date.now() + wait_s * 1000;
    const tick = () => setLeft(Math.max(0, Math.ceil((end_ms - Date.now()) / 1000)));
    tick();
    if (wait_s === 0) return;
    const timer = setInterval(tick, 500);
    return () => clearInterval(timer);
  }, [refusal]);
  return left_s;
}

/**
 * A form that is looked through, then sent: `check` finds what is wrong with it before the server is asked. The first field at
 * fault gets the focus, whoever finds it. What was entered stays in the form's own fields, so that no password is kept by us.
 */
export function useSubmit(check: (values: Values) => Problems, act: (values: Values) => Promise<void>) {
  const form = useRef<HTMLFormElement>(null);
  const [problems, setProblems] = useState(noProblems);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const [busy, setBusy] = useState(false);
  const wait_s = useCountdown(refusal);

  useEffect(() => {
    if (Object.keys(problems).length === 0) return;
    const field = form.current?.querySelector<HTMLInputElement>('input[aria-invalid="true"]');
    field?.focus();
    field?.select();
  }, [problems]);

  const send = async (values: Values) => {
    setBusy(true);
    setRefusal(null);
    try {
      await act(values);
    } catch (error) {
      const told = refusalOf(error);
      const shown = told.field !== null && form.current?.elements.namedItem(told.field) instanceof Element;
      if (told.field !== null && shown) setProblems({ [told.field]: told.problem });
      else setRefusal(told);
    } finally {
      setBusy(false);
    }
  };
  const onSubmit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy || wait_s > 0) return;
    const values = valuesOf(event.currentTarget);
    const found = check(values);
    setProblems(found);
    if (Object.keys(found).length === 0) void send(values);
  };
  /** What is being put right is not held against one any longer. */
  const onInput = (event: FormEvent<HTMLFormElement>) => {
    const { name } = event.target as HTMLInputElement;
    if (!(name in problems)) return;
    const { [name as FieldName]: _, ...others } = problems;
    setProblems(others);
  };
  /** Sends what stands in the form, as if its button had been pressed. */
  const again = useCallback(() => form.current?.requestSubmit(), []);
  return { form: { ref: form, noValidate: true, onSubmit, onInput }, problems, refusal, busy, wait_s, again };
}

/** Leaves out what is all right. */
export function found(problems: Record<string, Problem | null>): Problems {
  return Object.fromEntries(Object.entries(problems).filter(([, problem]) => problem !== null));
}
