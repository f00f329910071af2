import { useId } from "react";
import { useTranslation } from "react-i18next";
import { type Balance, type Key, programs, type Whose } from "../../api/programs";
import { go } from "../../state/session";
import { Section } from "../account/AccountPage";
import { Failed, Heading, Waiting } from "../admin/parts";
import { useLoaded } from "../admin/useLoaded";
import { BalanceFacts } from "./Balance";
import { UsageView } from "./UsageView";

interface Shown {
  balance: Balance;
  keys: Key[];
}

/** What one has to spend, and what one's requests took: all of them, or those of one key. */
export function OwnUsage({ keyId }: { keyId: string | null }) {
  const { t } = useTranslation("programs");
  const { loaded, reload } = useLoaded<Shown>(async () => {
    const [balance, { keys }] = await Promise.all([programs.balance(), programs.keys()]);
    return { balance, keys };
  });
  return (
    <>
      <Heading>{t("nav.usage")}</Heading>
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      {loaded.state === "ready" && (
        <Known shown={loaded.value} keyId={keyId} onRefresh={() => void reload()} />
      )}
    </>
  );
}

interface Props {
  shown: Shown;
  keyId: string | null;
  onRefresh: () => void;
}

function Known({ shown: { balance, keys }, keyId, onRefresh }: Props) {
  const { t } = useTranslation("programs");
  const field = useId();
  const whose: Whose = { scope: "own", key: keyId };
  const nameOf = (id: string | null) =>
    id === null ? "–" : (keys.find((key) => key.id === id)?.name ?? t("usage.revokedKey"));
  const missing = keyId !== null && keys.every((key) => key.id !== keyId);
  return (
    <>
      {!balance.free && (
        <Section title={t("balance.title")} text={t("balance.text")}>
          <BalanceFacts balance={balance} />
        </Section>
      )}
      <UsageView
        whose={whose}
        currency={balance.currency}
        free={balance.free}
        onRefresh={onRefresh}
        who={{ head: t("usage.key"), of: ({ key_id }) => nameOf(key_id) }}
      >
        {(keys.length > 0 || keyId !== null) && (
          <div className="usage-key">
            <label htmlFor={field}>{t("usage.key")}</label>
            <select
              id={field}
              className="select"
              value={keyId ?? ""}
              onChange={({ target }) =>
                go(target.value === "" ? "/usage" : `/usage?${new URLSearchParams({ key: target.value })}`)
              }
            >
              <option value="">{t("usage.allKeys")}</option>
              {keys.map((key) => (
                <option key={key.id} value={key.id}>
                  {key.name}
                </option>
              ))}
              {missing && <option value={keyId}>{t("usage.revokedKey")}</option>}
            </select>
          </div>
        )}
      </UsageView>
    </>
  );
}
