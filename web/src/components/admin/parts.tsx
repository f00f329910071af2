import { CircleAlert, TriangleAlert } from "lucide-react";
import { type ComponentProps, type ReactNode, useEffect, useId, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Failure, failureOf } from "../../state/admin";
import { Confirm } from "../Confirm";
import { CopyButton } from "../CopyButton";
import { useSaid, type Words } from "../useSaid";
import type { Pages } from "./usePages";

export function Heading({ children }: { children: string }) {
  const { t } = useTranslation();
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${children} · ${t("app.name")}`;
  }, [children, t]);
  useEffect(() => heading.current?.focus(), []);
  return (
    <h1 ref={heading} tabIndex={-1} dir="auto">
      {children}
    </h1>
  );
}

export function Waiting() {
  const { t } = useTranslation("admin");
  return (
    <p className="account-text" role="status">
      {t("loading")}
    </p>
  );
}

/** What went wrong, in words. */
function FailureText({ failure }: { failure: Failure }) {
  const { t } = useTranslation("admin");
  return failure.trouble === "other"
    ? t("trouble.other", { detail: failure.detail })
    : t(`trouble.${failure.trouble}`);
}

export function Failed({ failure, onRetry }: { failure: Failure | null; onRetry?: () => void }) {
  const { t } = useTranslation();
  if (failure === null) return null;
  return (
    <div className="note note-danger form-note" role="alert">
      <TriangleAlert size={18} aria-hidden className="shrink-0" />
      <span className="grow">
        <FailureText failure={failure} />
      </span>
      {onRetry !== undefined && (
        <button type="button" className="button" onClick={onRetry}>
          {t("connection.retry")}
        </button>
      )}
    </div>
  );
}

/** Brings the next page of a list, where there is one. */
export function More({ list }: { list: Pages<unknown> & { more: () => void } }) {
  const { t } = useTranslation("admin");
  if (list.next === null || list.failure !== null) return null;
  return (
    <button
      type="button"
      className="button admin-more"
      aria-disabled={list.state !== "ready"}
      onClick={() => list.state === "ready" && list.more()}
    >
      {list.state === "more" && <span className="spinner" aria-hidden="true" />}
      {t("more")}
    </button>
  );
}

interface Question {
  title: string;
  text: string;
  confirm: string;
  act: () => void;
}

/** Asks before something that can't be undone, and gives the focus back to what was pressed. */
export function useQuestion() {
  const { t } = useTranslation("admin");
  const [question, setQuestion] = useState<Question | null>(null);
  const [open, setOpen] = useState(false);
  const pressed = useRef<Element | null>(null);
  const ask = (asked: Question) => {
    pressed.current = document.activeElement;
    setQuestion(asked);
    setOpen(true);
  };
  const dialog = question !== null && (
    <Confirm
      open={open}
      title={question.title}
      text={question.text}
      confirm={question.confirm}
      cancel={t("cancel")}
      onConfirm={question.act}
      onClose={() => setOpen(false)}
      returnFocus={() => pressed.current instanceof HTMLElement && pressed.current.focus()}
    />
  );
  return { ask, dialog };
}

/** Does one thing at a time, and keeps what there is to say of it, in the words of `t`. */
export function useAction<T>(t: T) {
  const [busy, setBusy] = useState<string | null>(null);
  const [said, say] = useSaid(t);
  const [failure, setFailure] = useState<Failure | null>(null);
  const act = async (name: string, doing: () => Promise<Words<T> | null>) => {
    if (busy !== null) return;
    setBusy(name);
    say(null);
    setFailure(null);
    try {
      say(await doing());
    } catch (error) {
      setFailure(failureOf(error));
    } finally {
      setBusy(null);
    }
  };
  return { busy, said, failure, act };
}

type Action = Pick<ReturnType<typeof useAction>, "busy" | "said" | "failure">;

/** What an action has to say. */
export function Outcome({ action }: { action: Action }) {
  return (
    <>
      <Failed failure={action.failure} />
      <p className="account-said" role="status">
        {action.said}
      </p>
    </>
  );
}

interface ButtonProps {
  action: Action;
  name: string;
  danger?: boolean;
  onPress: () => void;
  children: ReactNode;
}

/** A button for one of the things that `action` does; it keeps the focus while it is at work. */
export function ActionButton({ action, name, danger = false, onPress, children }: ButtonProps) {
  return (
    <button
      type="button"
      className={danger ? "button button-danger" : "button"}
      aria-disabled={action.busy !== null}
      onClick={() => action.busy === null && onPress()}
    >
      {action.busy === name && <span className="spinner" aria-hidden="true" />}
      {children}
    </button>
  );
}

/** Something that is shown once; a password, unless `label` says what else. */
export function Secret({ value, label, copy }: { value: string; label?: string; copy?: string }) {
  const { t } = useTranslation("admin");
  return (
    <div className="secret">
      <span className="sr-only">{label ?? t("secret.label")}:</span>
      <code>{value}</code>
      <CopyButton text={value} label={copy ?? t("secret.copy")} showLabel />
    </div>
  );
}

interface TextProps extends ComponentProps<"input"> {
  label: string;
  hint?: string;
  problem?: string | null;
}

/** A field whose texts are the admin area's own. */
export function TextField({ label, hint, problem = null, ...rest }: TextProps) {
  const id = useId();
  const described = [problem !== null && `${id}-problem`, hint !== undefined && `${id}-hint`];
  return (
    <div className="form-field">
      <label htmlFor={id}>{label}</label>
      <div className="form-input">
        <input
          type="text"
          autoComplete="off"
          {...rest}
          id={id}
          aria-invalid={problem !== null}
          aria-describedby={described.filter(Boolean).join(" ") || undefined}
        />
      </div>
      {problem !== null && (
        <p id={`${id}-problem`} className="form-problem">
          <CircleAlert size={15} aria-hidden className="shrink-0" />
          {problem}
        </p>
      )}
      {hint !== undefined && (
        <p id={`${id}-hint`} className="form-hint">
          {hint}
        </p>
      )}
    </div>
  );
}

interface ChecksProps {
  label: string;
  /** The label is for screen readers only. */
  quiet?: boolean;
  choices: readonly { value: string; name: string; fixed?: boolean }[];
  chosen: readonly string[];
  onChoose: (chosen: string[]) => void;
}

/** Any number of several; what is fixed is in, and stays in. */
export function Checks({ label, quiet = false, choices, chosen, onChoose }: ChecksProps) {
  return (
    <fieldset className={quiet ? "choices choices-quiet" : "choices"}>
      <legend className={quiet ? "sr-only" : undefined}>{label}</legend>
      {choices.map(({ value, name, fixed = false }) => (
        <label key={value} className="choice">
          <input
            type="checkbox"
            checked={fixed || chosen.includes(value)}
            disabled={fixed}
            onChange={({ target }) =>
              onChoose(target.checked ? [...chosen, value] : chosen.filter((other) => other !== value))
            }
          />
          <span dir="auto">{name}</span>
        </label>
      ))}
    </fieldset>
  );
}

interface RadiosProps<Value extends string> {
  label: string;
  hint?: string;
  choices: readonly { value: Value; name: string }[];
  chosen: Value;
  onChoose: (chosen: Value) => void;
}

/** One of a few. */
export function Radios<Value extends string>({ label, hint, choices, chosen, onChoose }: RadiosProps<Value>) {
  const id = useId();
  return (
    <fieldset className="choices" aria-describedby={hint === undefined ? undefined : `${id}-hint`}>
      <legend>{label}</legend>
      {choices.map(({ value, name }) => (
        <label key={value} className="choice">
          <input
            type="radio"
            name={id}
            value={value}
            checked={value === chosen}
            onChange={() => onChoose(value)}
          />
          {name}
        </label>
      ))}
      {hint !== undefined && (
        <p id={`${id}-hint`} className="form-hint">
          {hint}
        </p>
      )}
    </fieldset>
  );
}
