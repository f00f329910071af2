import type { TFunction } from "i18next";
import { Monitor, Smartphone } from "lucide-react";
import { useCallback, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError, api } from "../../api/client";
import type { Device } from "../../api/types";
import { agoText } from "../../i18n/format";
import { readAgent } from "../../state/agent";
import { notify } from "../../state/store";
import { useSaid, type Words } from "../useSaid";
import { Section } from "./AccountPage";

/** Where one is signed in, and the way to end it there. They are read anew whenever `changes` is another number. */
export function Sessions({ changes }: { changes: number }) {
  const { t } = useTranslation();
  const [devices, setDevices] = useState<readonly Device[] | "loading" | "unreachable">("loading");
  const [said, say] = useSaid(t);
  const [busy, setBusy] = useState<string | null>(null);
  const list = useRef<HTMLUListElement>(null);
  const load = useCallback(async () => {
    try {
      const { sessions } = await api.sessions();
      // This one first, then by when they were last seen.
      setDevices(sessions.toSorted((a, b) => Number(b.current) - Number(a.current) || b.seen_ms - a.seen_ms));
    } catch {
      setDevices((known) => (typeof known === "string" ? "unreachable" : known));
    }
  }, []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  useEffect(() => void load(), [load, changes]);

  const revoke = async (what: string, revoking: Promise<void>, done: Words<TFunction>) => {
    setBusy(what);
    say(null);
    try {
      await revoking;
    } catch (error) {
      // One that is over already is what was wanted.
      if (!(error instanceof ApiError && error.status === 404)) {
        notify("revokeFailed");
        setBusy(null);
        return;
      }
    }
    await load();
    setBusy(null);
    say(done);
    // The pressed button is gone.
    list.current?.focus();
  };
  const others = Array.isArray(devices) ? devices.filter((device) => !device.current).length : 0;
  return (
    <Section title={t("sessions.title")} text={t("sessions.text")}>
      {devices === "loading" && <p className="account-text">{t("sessions.loading")}</p>}
      {devices === "unreachable" && (
        <p className="account-text" role="alert">
          {t("sessions.unreachable")}{" "}
          <button type="button" className="button-text" onClick={() => void load()}>
            {t("connection.retry")}
          </button>
        </p>
      )}
      {typeof devices !== "string" && (
        <ul className="devices" ref={list} tabIndex={-1} aria-label={t("sessions.title")}>
          {devices.map((device) => (
            <DeviceItem
              key={device.id}
              device={device}
              busy={busy !== null}
              onRevoke={(name) =>
                void revoke(device.id, api.revokeSession(device.id), (t) => t("sessions.revoked", { name }))
              }
            />
          ))}
        </ul>
      )}
      {others > 0 && (
        <button
          type="button"
          className="button"
          disabled={busy !== null}
          onClick={() => void revoke("others", api.revokeOtherSessions(), (t) => t("sessions.othersRevoked"))}
        >
          {busy === "others" && <span className="spinner" aria-hidden="true" />}
          {t("sessions.revokeOthers")}
        </button>
      )}
      <p className="account-said" role="status">
        {said}
      </p>
    </Section>
  );
}

interface ItemProps {
  device: Device;
  busy: boolean;
  onRevoke: (name: string) => void;
}

export function DeviceItem({ device, busy, onRevoke }: ItemProps) {
  const { t, i18n } = useTranslation();
  const { browser, system, phone } = readAgent(device.agent);
  const Icon = phone ? Smartphone : Monitor;
  const name =
    browser !== null && system !== null
      ? t("sessions.agent", { browser, system })
      : (browser ?? system ?? t("sessions.unknown"));
  const now_ms = Date.now();
  const seen =
    now_ms - device.seen_ms < 60_000 ? t("sessions.now") : agoText(device.seen_ms, now_ms, i18n.language);
  const since = new Intl.DateTimeFormat(i18n.language, { dateStyle: "medium" }).format(device.created_ms);
  return (
    <li className="device">
      <Icon size={22} aria-hidden className="shrink-0" />
      <div className="grow min-w-0">
        <p className="device-name" title={device.agent}>
          {name}
          {device.current && <span className="badge">{t("sessions.current")}</span>}
        </p>
        <p className="device-facts">
          {t("sessions.seen", { when: seen })} · {t("sessions.since", { when: since })}
          {device.address !== "" && <> · {device.address}</>}
        </p>
      </div>
      {!device.current && (
        <button
          type="button"
          className="button"
          aria-label={t("sessions.revokeLabel", { name })}
          disabled={busy}
          onClick={() => onRevoke(name)}
        >
          {t("sessions.revoke")}
        </button>
      )}
    </li>
  );
}
