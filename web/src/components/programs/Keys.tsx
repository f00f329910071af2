import { KeyRound, Plus } from "lucide-react";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, api } from "../../api/client";
import { type Key, programs } from "../../api/programs";
import { agoText, counted } from "../../i18n/format";
import { moneyText, nanosOf } from "../../state/money";
import { PageLink } from "../account/EntryPage";
import { useFocusAfter } from "../account/useFocusAfter";
import { Failed, Heading, Outcome, useAction, useQuestion, Waiting } from "../admin/parts";
import { useLoaded } from "../admin/useLoaded";
import { Endpoints } from "./Endpoints";
import { KeyDialog } from "./KeyDialog";

interface Shown {
  keys: Key[];
  keys_max: number;
  /** The models that one may use. */
  models: string[];
  /** The one that is asked where none is named. */
  model: string | null;
  currency: string;
}

/** One that is revoked already is what was wanted. */
export function gone(error: unknown): void {
  if (!(error instanceof ApiError && error.status === 404)) throw error;
}

/** The keys with which one's programs come in. */
export function Keys() {
  const { t } = useTranslation("programs");
  const { loaded, reload } = useLoaded<Shown>(async () => {
    const [{ keys, keys_max }, { models, default: model }, { currency }] = await Promise.all([
      programs.keys(),
      api.models(),
      programs.balance(),
    ]);
    const installed = models.filter((model) => model.installed).map(({ name }) => name);
    return { keys, keys_max, models: installed, model, currency };
  });
  const [editing, setEditing] = useState<Key | "new" | null>(null);
  const action = useAction(t);
  const { ask, dialog } = useQuestion();
  const list = useRef<HTMLUListElement>(null);
  const focusList = useFocusAfter(list);
  const revoke = (key: Key) =>
    action.act(key.id, async () => {
      await programs.revokeKey(key.id).catch(gone);
      await reload();
      focusList();
      return (t) => t("key.revoked", { name: key.name });
    });
  const shown = loaded.state === "ready" ? loaded.value : null;
  const full = shown !== null && shown.keys.length >= shown.keys_max;
  return (
    <>
      <div className="admin-head">
        <Heading>{t("nav.keys")}</Heading>
        {shown !== null && !full && (
          <button type="button" className="button button-accent" onClick={() => setEditing("new")}>
            <Plus size={17} aria-hidden />
            {t("key.add")}
          </button>
        )}
      </div>
      <p className="account-text">{t("key.text")}</p>
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      {full && <p className="account-text">{t("key.full", { count: shown.keys_max })}</p>}
      <Outcome action={action} />
      {shown !== null && shown.keys.length === 0 && <p className="account-text">{t("key.none")}</p>}
      {shown !== null && (
        <ul className="devices" ref={list} tabIndex={-1} aria-label={t("nav.keys")}>
          {shown.keys.map((key) => (
            <KeyItem
              key={key.id}
              of={key}
              currency={shown.currency}
              usage={`/usage?${new URLSearchParams({ key: key.id })}`}
              onEdit={() => setEditing(key)}
              onRevoke={() =>
                ask({
                  title: t("key.question", { name: key.name }),
                  text: t("key.warning"),
                  confirm: t("key.revoke"),
                  act: () => void revoke(key),
                })
              }
            />
          ))}
        </ul>
      )}
      <Endpoints model={shown?.model ?? null} />
      {shown !== null && (
        <KeyDialog
          editing={editing}
          models={shown.models}
          currency={shown.currency}
          onClose={() => setEditing(null)}
          onSaved={() => void reload()}
        />
      )}
      {dialog}
    </>
  );
}

interface ItemProps {
  of: Key;
  currency: string;
  /** Where one sees what was asked for with it. */
  usage?: string;
  onEdit?: () => void;
  onRevoke?: () => void;
}

/** One key, without what makes it one. */
export function KeyItem({ of: key, currency, usage, onEdit, onRevoke }: ItemProps) {
  const { t } = useTranslation("programs");
  const { name } = key;
  const expired = key.expires_ms !== null && key.expires_ms <= Date.now();
  return (
    <li className="device">
      <KeyRound size={22} aria-hidden className="shrink-0" />
      <div className="grow min-w-0">
        <p className="device-name" dir="auto">
          {name}
          {expired && <span className="badge badge-danger">{t("key.expired")}</span>}
        </p>
        <p className="device-facts">
          <code>{key.start}…</code> · <Dates of={key} />
        </p>
        <Limits of={key} currency={currency} />
      </div>
      <div className="device-actions">
        {usage !== undefined && (
          <PageLink href={usage} className="button">
            <span aria-hidden="true">{t("nav.usage")}</span>
            <span className="sr-only">{t("key.usageLabel", { name })}</span>
          </PageLink>
        )}
        {onEdit !== undefined && (
          <button type="button" className="button" aria-label={t("key.editLabel", { name })} onClick={onEdit}>
            {t("key.edit")}
          </button>
        )}
        {onRevoke !== undefined && (
          <button
            type="button"
            className="button"
            aria-label={t("key.revokeLabel", { name })}
            onClick={onRevoke}
          >
            {t("key.revoke")}
          </button>
        )}
      </div>
    </li>
  );
}

function Dates({ of: { created_ms, used_ms, expires_ms } }: { of: Key }) {
  const { t, i18n } = useTranslation("programs");
  const { t: common } = useTranslation();
  const date = new Intl.DateTimeFormat(i18n.language, { dateStyle: "medium" });
  const now_ms = Date.now();
  const used =
    used_ms === null
      ? t("key.unused")
      : t("key.used", {
          when: now_ms - used_ms < 60_000 ? common("sessions.now") : agoText(used_ms, now_ms, i18n.language),
        });
  const since = t("key.since", { when: date.format(created_ms) });
  // It is good to the end of that day: the millisecond before is in it.
  const until = expires_ms === null ? "" : ` · ${t("key.until", { when: date.format(expires_ms - 1) })}`;
  return `${since} · ${used}${until}`;
}

/** What the key may not, in short. */
function Limits({ of: key, currency }: { of: Key; currency: string }) {
  const { t, i18n } = useTranslation("programs");
  const money = (amount: string) => moneyText(amount, currency, i18n.language);
  const limits = [
    key.spend_max !== null
      ? t("key.spent", { spent: money(key.spent), most: money(key.spend_max) })
      : nanosOf(key.spent) !== 0n && t("key.spentSoFar", { spent: money(key.spent) }),
    key.models !== null &&
      (key.models.length === 0 ? t("key.noModels") : t("key.onlyModels", { models: key.models.join(", ") })),
    key.addresses.length > 0 && t("key.onlyFrom", { addresses: key.addresses.join(", ") }),
    key.requests_at_once !== null && t("key.atOnce", counted(key.requests_at_once, i18n.language)),
    key.requests_per_day !== null && t("key.perDay", counted(key.requests_per_day, i18n.language)),
    key.tokens_per_day !== null && t("key.tokensPerDay", counted(key.tokens_per_day, i18n.language)),
  ].filter((limit) => limit !== false);
  return limits.length === 0 ? null : <p className="device-facts">{limits.join(" · ")}</p>;
}
