import { type ReactNode, useEffect } from "react";
import { useTranslation } from "react-i18next";
import { programs, type UsageRow, type Whose } from "../../api/programs";
import { counted, secondsText } from "../../i18n/format";
import { moneyText } from "../../state/money";
import { Section } from "../account/AccountPage";
import { Failed, More, Waiting } from "../admin/parts";
import { usePages } from "../admin/usePages";
import { ScrollTable } from "./Chart";

const PAGE_SIZE = 25;

interface Props {
  whose: Whose;
  currency: string;
  free: boolean;
  who: { head: string; of: (row: UsageRow) => ReactNode };
  onRows?: (rows: readonly UsageRow[]) => void;
}

/** The newest requests, one by one. For others it is made anew. */
export function Requests({ whose, currency, free, who, onRows }: Props) {
  const { t } = useTranslation("programs");
  const list = usePages<UsageRow>("", async (_, before, signal) => {
    const { rows, next } = await programs.usage(whose, before, PAGE_SIZE, signal);
    return { items: rows, next, total: null };
  });
  const rows = list.items;
  // biome-ignore lint/correctness/useExhaustiveDependencies: other rows are told, not another listener
  useEffect(() => onRows?.(rows), [rows]);
  return (
    <Section title={t("usage.newest")}>
      {list.state === "loading" && rows.length === 0 && <Waiting />}
      {list.state === "ready" && list.failure === null && rows.length === 0 && (
        <p className="account-text">{t("usage.none")}</p>
      )}
      {rows.length > 0 && (
        <ScrollTable label={t("usage.newest")}>
          <Heads who={who.head} free={free} />
          <tbody aria-busy={list.state !== "ready"}>
            {rows.map((row) => (
              <Row key={row.id} row={row} who={who.of(row)} currency={currency} free={free} />
            ))}
          </tbody>
        </ScrollTable>
      )}
      <Failed failure={list.failure} onRetry={list.again} />
      <More list={list} />
    </Section>
  );
}

function Heads({ who, free }: { who: string; free: boolean }) {
  const { t } = useTranslation("programs");
  const numbers = [t("usage.input"), t("usage.output"), ...(free ? [] : [t("usage.cost")])];
  return (
    <thead>
      <tr>
        <th scope="col">{t("usage.time")}</th>
        <th scope="col">{who}</th>
        <th scope="col">{t("usage.modelAndEndpoint")}</th>
        {numbers.map((name) => (
          <th key={name} scope="col" className="number">
            {name}
          </th>
        ))}
        <th scope="col">{t("usage.outcome")}</th>
      </tr>
    </thead>
  );
}

interface RowProps {
  row: UsageRow;
  who: ReactNode;
  currency: string;
  free: boolean;
}

function Row({ row, who, currency, free }: RowProps) {
  const { t, i18n } = useTranslation("programs");
  const number = new Intl.NumberFormat(i18n.language);
  const day = new Intl.DateTimeFormat(i18n.language, { day: "numeric", month: "short", year: "2-digit" });
  const clock = new Intl.DateTimeFormat(i18n.language, { timeStyle: "medium" });
  const outcome = `outcome.${row.outcome}`;
  return (
    <tr>
      <th scope="row">
        <time dateTime={new Date(row.at_ms).toISOString()}>
          {day.format(row.at_ms)}
          <span className="table-aside">{clock.format(row.at_ms)}</span>
        </time>
      </th>
      <td dir="auto" className="table-text">
        {who}
      </td>
      <td>
        {row.model}
        <span className="table-aside">
          {row.endpoint === "chat" ? t("usage.chat") : <code>{row.endpoint}</code>}
        </span>
      </td>
      <td className="number">
        {number.format(row.hit_tokens + row.miss_tokens)}
        {row.hit_tokens > 0 && (
          <span className="table-aside">{t("usage.cached", counted(row.hit_tokens, i18n.language))}</span>
        )}
      </td>
      <td className="number">
        {number.format(row.output_tokens)}
        {row.reasoning_tokens > 0 && (
          <span className="table-aside">
            {t("usage.reasoned", counted(row.reasoning_tokens, i18n.language))}
          </span>
        )}
      </td>
      {!free && <td className="number">{moneyText(row.cost, currency, i18n.language)}</td>}
      <td>
        {i18n.exists(outcome, { ns: "programs" }) ? t(outcome as "outcome.complete") : row.outcome}
        {row.ttft_ms !== null && (
          <span className="table-aside">
            {t("usage.ttft", { time: secondsText(row.ttft_ms, i18n.language) })}
          </span>
        )}
      </td>
    </tr>
  );
}
