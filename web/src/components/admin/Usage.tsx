import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Prices, programs, type UsageRow } from "../../api/programs";
import { nanosOf } from "../../state/money";
import { adminPath } from "../../state/route";
import { PageLink } from "../account/EntryPage";
import { UsageView } from "../programs/UsageView";
import { PriceList } from "./PriceList";
import { Failed, Heading, Waiting } from "./parts";
import { UserFilter } from "./UserPicker";
import { useLoaded } from "./useLoaded";
import { useNames } from "./useNames";

const isFree = ({ prices }: Prices): boolean =>
  prices.every(({ hit, miss, output }) => [hit, miss, output].every((amount) => nanosOf(amount) === 0n));

/** What the requests of all took, or those of one user, and what they cost. */
export function Usage({ user }: { user: string | null }) {
  const { t } = useTranslation("admin");
  const { loaded, reload } = useLoaded(programs.prices);
  return (
    <>
      <Heading>{t("usage")}</Heading>
      <p className="account-text">{t("usageText")}</p>
      <UserFilter part="usage" user={user} of={(name) => t("usageOf", { name })} />
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      {loaded.state === "ready" && <Known prices={loaded.value} user={user} />}
    </>
  );
}

function Known({ prices, user }: { prices: Prices; user: string | null }) {
  const { t } = useTranslation("programs");
  const [rows, setRows] = useState<readonly UsageRow[]>([]);
  const nameOf = useNames(rows);
  return (
    <>
      <UsageView
        whose={{ scope: "all", user }}
        currency={prices.currency}
        free={isFree(prices)}
        who={{
          head: t("usage.user"),
          of: ({ user_id }) => <Who id={user_id} name={user_id === null ? null : nameOf(user_id)} />,
        }}
        onRows={setRows}
      />
      <PriceList prices={prices} />
    </>
  );
}

function Who({ id, name }: { id: string | null; name: string | null }) {
  const { t } = useTranslation("programs");
  const { t: admin } = useTranslation("admin");
  if (id === null) return t("usage.local");
  if (name === null) return admin("log.deleted");
  return <PageLink href={adminPath({ part: "users", user: id })}>{name}</PageLink>;
}
