import "../gate/gate.css";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Gate, keeper } from "../../api/gate";
import { measuredText } from "../../state/gate";
import { Section } from "../account/AccountPage";
import { PageLink } from "../account/EntryPage";
import { DoorFacts } from "../gate/StatusPage";
import { Moves } from "../gate/words";
import { Invitations } from "./Invitations";
import { PinGate } from "./PinGate";
import { Failed, Heading, Waiting } from "./parts";
import { useLoaded } from "./useLoaded";

const EVERY_MS = 5000;

/** The registration gate: how it stands and why, for operators, who may hold it. */
export function GatePart({ administers }: { administers: boolean }) {
  const { t } = useTranslation("admin");
  const { loaded, reload, put } = useLoaded<Gate>(() => keeper.stand());
  // One question that is not answered takes nothing away, least of all what is being typed.
  const [gate, setGate] = useState<Gate | null>(null);
  useEffect(() => {
    if (loaded.state === "ready") setGate(loaded.value);
  }, [loaded]);
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && void reload(), EVERY_MS);
    return () => clearInterval(timer);
  }, [reload]);
  return (
    <>
      <Heading>{t("gate")}</Heading>
      <p className="account-text">
        {t("door.text")} <PageLink href="/status">{t("door.publicPage")}</PageLink>
      </p>
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      {gate !== null && (
        <>
          <Now gate={gate} />
          <PinGate pin={gate.pin} onChanged={put} />
        </>
      )}
      {administers && <Invitations />}
      {gate !== null && (
        <>
          <Signals signals={gate.signals} />
          <Section title={t("door.moves")}>
            <Moves moves={gate.moves} />
          </Section>
        </>
      )}
    </>
  );
}

function Now({ gate: { registration, pin, accounts_made } }: { gate: Gate }) {
  const { t } = useTranslation("admin");
  const { t: words, i18n } = useTranslation();
  const at = new Intl.DateTimeFormat(i18n.language, { dateStyle: "long", timeStyle: "short" });
  const number = (value: number) => new Intl.NumberFormat(i18n.language).format(value);
  return (
    <Section title={t("door.now")}>
      <p className="gate-state">
        <span className="gate-dot" data-level={registration.level} aria-hidden="true" />
        {words(`gate.level.${registration.level}`)}
      </p>
      {!registration.offered && <p className="gate-text">{t("door.closed")}</p>}
      <dl className="facts">
        <dt>{t("door.state")}</dt>
        <dd>{t(pin === null ? "door.runs" : "door.held")}</dd>
        <dt>{words("gate.status.since")}</dt>
        <dd>{at.format(registration.since_ms)}</dd>
        <dt>{t("door.made")}</dt>
        <dd>
          {t("door.madeOf", {
            made: number(accounts_made),
            budget: number(registration.accounts_per_minute),
          })}
        </dd>
        <DoorFacts registration={registration} read_ms={Date.now()} />
      </dl>
    </Section>
  );
}

/** In the order in which one asks; what the server tells besides is not shown. */
const signalUnits = {
  demand: "times",
  attempted: "count",
  forecast_per_minute: "count",
  completed: "count",
  challenges_passed: "count",
  challenges_failed: "count",
  prefix_concentration: "share",
  asn_concentration: "share",
  logins_passed: "count",
  logins_failed: "count",
  queue_delay_ms: "ms",
  established_answered: "count",
  established_refused: "count",
  cost_per_account: "times",
} as const;

const signalNames = Object.keys(signalUnits) as (keyof typeof signalUnits)[];

function Signals({ signals }: { signals: Gate["signals"] }) {
  const { t, i18n } = useTranslation("admin");
  const at = new Intl.DateTimeFormat(i18n.language, { timeStyle: "medium" });
  const when = at.format(signals["at_ms"] ?? Date.now());
  return (
    <Section title={t("door.signals")} text={t("door.signalsText", { when })}>
      <dl className="facts">
        {signalNames.map((name) => {
          const value = signals[name];
          // Null is what this server has no means to know.
          if (value === undefined || value === null) return null;
          return (
            <div key={name} className="contents">
              <dt>{t(`door.signal.${name}`)}</dt>
              <dd>
                {measuredText(value, signalUnits[name], i18n.language, (number) =>
                  t("door.times", { number }),
                )}
              </dd>
            </div>
          );
        })}
      </dl>
    </Section>
  );
}
