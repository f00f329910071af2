import type { TFunction } from "i18next";
import { useRef } from "react";
import { useTranslation } from "react-i18next";
import { type Account, type AccountDevice, admin } from "../../api/admin";
import { ApiError } from "../../api/client";
import { Section } from "../account/AccountPage";
import { DeviceItem } from "../account/Sessions";
import type { Words } from "../useSaid";
import { ActionButton, Failed, Outcome, useAction, useQuestion, Waiting } from "./parts";
import { useLoaded } from "./useLoaded";

/** Where a user is signed in, and the end of it. */
export function UserSessions({ account }: { account: Account }) {
  const { t } = useTranslation("admin");
  const { loaded, reload } = useLoaded<AccountDevice[]>(async () => {
    const { sessions } = await admin.sessions(account.id);
    return sessions.toSorted((a, b) => b.seen_ms - a.seen_ms);
  });
  const action = useAction(t);
  const { ask, dialog } = useQuestion();
  const list = useRef<HTMLUListElement>(null);
  const revoke = (name: string, revoking: () => Promise<void>, done: Words<TFunction<"admin">>) =>
    action.act(name, async () => {
      await revoking().catch((error: unknown) => {
        // One that is over already is what was wanted.
        if (!(error instanceof ApiError && error.status === 404)) throw error;
      });
      await reload();
      // The pressed button is gone.
      list.current?.focus();
      return done;
    });
  const devices = loaded.state === "ready" ? loaded.value : [];
  return (
    <Section title={t("devices.title")}>
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      {loaded.state === "ready" && devices.length === 0 && (
        <p className="account-text">{t("devices.none")}</p>
      )}
      <ul className="devices" ref={list} tabIndex={-1} aria-label={t("devices.title")}>
        {devices.map((device) => (
          <DeviceItem
            key={device.id}
            device={{ ...device, current: false }}
            busy={action.busy !== null}
            onRevoke={() =>
              void revoke(
                device.id,
                () => admin.revokeSession(account.id, device.id),
                (t) => t("devices.oneRevoked"),
              )
            }
          />
        ))}
      </ul>
      {devices.length > 0 && (
        <div className="admin-buttons">
          <ActionButton
            action={action}
            name="all"
            onPress={() =>
              ask({
                title: t("devices.revokeQuestion", { name: account.name }),
                text: t("devices.revokeText"),
                confirm: t("devices.revoke"),
                act: () =>
                  void revoke(
                    "all",
                    () => admin.revokeSessions(account.id),
                    (t) => t("devices.revoked"),
                  ),
              })
            }
          >
            {t("devices.revoke")}
          </ActionButton>
        </div>
      )}
      <Outcome action={action} />
      {dialog}
    </Section>
  );
}
