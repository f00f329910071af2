import type { TFunction } from "i18next";
import { CircleStop, Info, RefreshCw, StepForward, TriangleAlert } from "lucide-react";
import { memo } from "react";
import { useTranslation } from "react-i18next";
import type { Message } from "../api/types";
import { secondsText } from "../i18n/format";
import { Markdown } from "../markdown/Markdown";
import type { Live } from "../state/conversation";
import { continueAnswer, regenerate, useStore } from "../state/store";
import { CopyButton } from "./CopyButton";
import { focusComposer } from "./focus";
import { IconButton } from "./IconButton";
import { Reasoning } from "./Reasoning";
import { Versions } from "./Versions";
import { Whale } from "./Whale";

interface Props {
  id: string;
  versions: readonly string[];
  /** Nothing comes after it on the shown path. */
  last: boolean;
  locked: boolean;
}

/** What a running answer itself says is of the moment when the page joined it. */
function reasoningDuration(message: Message, live: Live | undefined): number | null {
  const from_ms = live?.reasoningFrom_ms ?? null;
  const to_ms = live?.reasoningTo_ms ?? null;
  if (message.status !== "generating" || from_ms === null || to_ms === null) return message.reasoning_ms;
  return to_ms - from_ms;
}

/** Model, tokens, time: what one may want to know of an answer. */
function detailsOf(message: Message, t: TFunction, language: string): string {
  const { usage, timing, model } = message;
  const facts: string[] = [];
  if (model !== null) facts.push(model);
  if (usage !== null) facts.push(t("message.tokens", { count: usage.completion_tokens }));
  if (timing !== null) {
    facts.push(secondsText(timing.total_ms, language));
    const written_ms = timing.total_ms - (timing.ttft_ms ?? timing.total_ms);
    if (usage !== null && usage.completion_tokens > 1 && written_ms > 0) {
      const rate = ((usage.completion_tokens - 1) * 1000) / written_ms;
      facts.push(t("message.rate", { rate: rate < 10 ? rate.toFixed(1) : Math.round(rate) }));
    }
  }
  return facts.join(" · ");
}

export const AssistantMessage = memo(function AssistantMessage({ id, versions, last, locked }: Props) {
  const { t } = useTranslation();
  const message = useStore((state) => state.open.messages.byId[id]);
  const live = useStore((state) => state.open.live[id]);
  if (message === undefined) return null;
  const running = message.status === "generating";
  const reasoning = message.reasoning ?? "";
  return (
    <article
      className="message message-assistant"
      data-message={id}
      data-status={message.status}
      aria-busy={running}
    >
      <h2 className="sr-only">{t("message.assistant")}</h2>
      <div className="avatar" aria-hidden="true">
        <Whale size={22} />
      </div>
      <div className="answer">
        {reasoning !== "" && (
          <Reasoning
            text={reasoning}
            running={running && message.content === ""}
            duration_ms={reasoningDuration(message, live)}
          />
        )}
        {message.content !== "" && <Markdown text={message.content} streaming={running} />}
        {running && reasoning === "" && message.content === "" && live?.link !== "lost" && <Waiting />}
        {running && live?.link === "lost" && (
          <p className="message-note" role="status">
            {t("message.reconnecting")}
          </p>
        )}
        <Ending message={message} last={last} locked={locked} />
        {!running && <Actions message={message} versions={versions} locked={locked} />}
      </div>
    </article>
  );
});

function Waiting() {
  const { t } = useTranslation();
  return (
    <p className="waiting">
      <span className="dots" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      <span className="sr-only">{t("message.waiting")}</span>
    </p>
  );
}

function endingText(message: Message, t: TFunction): string | null {
  switch (message.status) {
    case "stopped":
    case "length":
    case "interrupted":
      return t(`status.${message.status}`);
    case "failed":
      if (message.error === null || message.error === "") return t("status.failed");
      return t("status.failedWith", { detail: message.error });
    case "complete":
      return message.content === "" && (message.reasoning ?? "") === "" ? t("status.empty") : null;
    case "generating":
      return null;
  }
}

/** Whether the model can go on where an answer ended. */
const continues = ({ status }: Message): boolean => status !== "complete" && status !== "generating";

function goOn(message: string): void {
  focusComposer();
  void continueAnswer(message);
}

function askAgain(message: string): void {
  focusComposer();
  void regenerate(message);
}

/** Why an answer ended before its end, and the way out. */
function Ending({ message, last, locked }: { message: Message; last: boolean; locked: boolean }) {
  const { t } = useTranslation();
  const text = endingText(message, t);
  if (text === null) return null;
  const broken = message.status === "interrupted" || message.status === "failed";
  const Icon = broken ? TriangleAlert : CircleStop;
  return (
    <div className={broken ? "note note-danger" : "message-note"}>
      <Icon size={16} aria-hidden className="shrink-0" />
      <span className="note-text">{text}</span>
      <span className="note-buttons">
        {last && continues(message) && (
          <button type="button" className="button" disabled={locked} onClick={() => goOn(message.id)}>
            <StepForward size={15} aria-hidden />
            {t("message.continue")}
          </button>
        )}
        {broken && (
          <button type="button" className="button" disabled={locked} onClick={() => askAgain(message.id)}>
            <RefreshCw size={15} aria-hidden />
            {t("message.regenerate")}
          </button>
        )}
      </span>
    </div>
  );
}

function Actions({
  message,
  versions,
  locked,
}: {
  message: Message;
  versions: readonly string[];
  locked: boolean;
}) {
  const { t, i18n } = useTranslation();
  const details = detailsOf(message, t, i18n.language);
  return (
    <div className="actions">
      <Versions id={message.id} versions={versions} />
      {message.content !== "" && <CopyButton text={message.content} label={t("message.copy")} />}
      <IconButton
        icon={RefreshCw}
        size={16}
        label={t("message.regenerate")}
        disabled={locked}
        onClick={() => askAgain(message.id)}
      />
      {details !== "" && (
        <button
          type="button"
          className="button-icon"
          aria-label={`${t("message.details")}: ${details}`}
          data-tip={details}
          data-tip-on-press
        >
          <Info size={16} aria-hidden />
        </button>
      )}
    </div>
  );
}
