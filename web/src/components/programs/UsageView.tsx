import { Download, RefreshCw } from "lucide-react";
import { type ReactNode, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { csvPath, type UsageRow, type UsageSum, type Whose } from "../../api/programs";
import { counted } from "../../i18n/format";
import { amountOf, moneyText } from "../../state/money";
import {
  byModel,
  columnsOf,
  type OfModel,
  type PeriodName,
  periodNames,
  type Span,
  scaleOf,
  spanOf,
  totalOf,
} from "../../state/usage";
import { Section } from "../account/AccountPage";
import { Failed, Waiting } from "../admin/parts";
import { Chart, type ChartColumn, ScrollTable } from "./Chart";
import { Requests } from "./Requests";
import { useSums } from "./useSums";

/** As many models have a colour of their own; the others share one. */
const COLOURS = 5;

interface Props {
  whose: Whose;
  currency: string;
  /** Nothing costs anything. */
  free: boolean;
  /** Who asked: the head of that column, and what stands in it. */
  who: { head: string; of: (row: UsageRow) => ReactNode };
  /** Is told which rows are shown. */
  onRows?: (rows: readonly UsageRow[]) => void;
  /** What else there is to be read anew. */
  onRefresh?: () => void;
  /** Narrows down whose requests they are. */
  children?: ReactNode;
}

/** What requests took: by day, by model, and the newest of them one by one. */
export function UsageView({ whose, currency, free, who, onRows, onRefresh, children }: Props) {
  const { t } = useTranslation("programs");
  const { t: admin } = useTranslation("admin");
  const [period, setPeriod] = useState<PeriodName>("month");
  const [turn, setTurn] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another turn is another moment
  const span = useMemo(() => {
    const now_ms = Date.now();
    return spanOf(period, now_ms, -new Date(now_ms).getTimezoneOffset());
  }, [period, turn]);
  const { shown, state, failure } = useSums(whose, span, turn);
  return (
    <>
      <div className="usage-choices">
        <fieldset className="segments">
          <legend className="sr-only">{t("usage.period")}</legend>
          {periodNames.map((name) => (
            <label key={name} className="segment">
              <input
                type="radio"
                name="period"
                className="sr-only"
                checked={name === period}
                onChange={() => setPeriod(name)}
              />
              {t(`usage.${name}`)}
            </label>
          ))}
        </fieldset>
        {children}
      </div>
      <Section title={t("usage.sums")}>
        <div className="usage-tools">
          <button
            type="button"
            className="button"
            onClick={() => {
              setTurn(turn + 1);
              onRefresh?.();
            }}
          >
            <RefreshCw size={15} aria-hidden />
            {admin("state.refresh")}
          </button>
          <a className="button" href={csvPath(whose, span)} download>
            <Download size={15} aria-hidden />
            {t("usage.csv")}
          </a>
        </div>
        <Failed failure={failure} onRetry={() => setTurn(turn + 1)} />
        {shown === null && state === "loading" && <Waiting />}
        {shown !== null && (
          <div aria-busy={state === "loading"}>
            <Sums sums={shown.sums} span={shown.span} currency={currency} free={free} />
          </div>
        )}
      </Section>
      <Requests
        key={JSON.stringify([whose, turn])}
        whose={whose}
        currency={currency}
        free={free}
        who={who}
        {...(onRows === undefined ? {} : { onRows })}
      />
    </>
  );
}

interface SumsProps {
  sums: readonly UsageSum[];
  span: Span;
  currency: string;
  free: boolean;
}

function Sums({ sums, span, currency, free }: SumsProps) {
  const { t, i18n } = useTranslation("programs");
  const { requests, hit, miss, output, cost } = totalOf(sums);
  if (requests === 0) return <p className="account-text">{t("usage.nothing")}</p>;
  const models = byModel(sums);
  return (
    <>
      <p className="usage-total" role="status">
        {t("usage.requests", counted(requests, i18n.language))}
        {" · "}
        {t("usage.tokensOf", counted(hit + miss + output, i18n.language))}
        {!free && ` · ${moneyText(amountOf(cost), currency, i18n.language)}`}
      </p>
      <TokenChart sums={sums} span={span} />
      {!free && cost > 0n && <CostChart sums={sums} span={span} models={models} currency={currency} />}
      <Models models={models} currency={currency} free={free} />
    </>
  );
}

/** How a column is called. A day is named by its noon: where clocks are changed it may begin at eleven in the evening. */
function useNames({ by }: Span) {
  const { t, i18n } = useTranslation("programs");
  const language = i18n.language;
  if (by === "hour") {
    const hour = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
    return { unit: t("usage.hour"), label: (at_ms: number) => hour.format(at_ms), short: hour.format };
  }
  const noon = (format: Intl.DateTimeFormat) => (from_ms: number) => format.format(from_ms + 12 * 3_600_000);
  return {
    unit: t("usage.day"),
    label: noon(new Intl.DateTimeFormat(language, { dateStyle: "medium" })),
    short: noon(new Intl.DateTimeFormat(language, { day: "numeric", month: "short" })),
  };
}

function TokenChart({ sums, span }: Pick<SumsProps, "sums" | "span">) {
  const { t, i18n } = useTranslation("programs");
  const { unit, label, short } = useNames(span);
  const number = new Intl.NumberFormat(i18n.language);
  const compact = new Intl.NumberFormat(i18n.language, { notation: "compact" });
  const columns: ChartColumn[] = columnsOf(sums, span).map(({ from_ms, hit, miss, output }) => ({
    key: from_ms,
    label: label(from_ms),
    short: short(from_ms),
    values: [hit, miss, output],
    texts: [hit, miss, output].map((count) => number.format(count)),
    total: number.format(hit + miss + output),
  }));
  const top = scaleOf(highest(columns));
  return (
    <Chart
      title={t("usage.tokens")}
      unit={unit}
      series={[t("usage.hit"), t("usage.miss"), t("usage.output")]}
      columns={columns}
      top={top}
      scale={[compact.format(top), compact.format(top / 2), "0"]}
    />
  );
}

const highest = (columns: readonly ChartColumn[]): number =>
  Math.max(...columns.map(({ values }) => values.reduce((sum, value) => sum + value, 0)));

interface CostProps extends Omit<SumsProps, "free"> {
  models: readonly OfModel[];
}

function CostChart({ sums, span, models, currency }: CostProps) {
  const { t, i18n } = useTranslation("programs");
  const { unit, label, short } = useNames(span);
  const money = (nanos: bigint) => moneyText(amountOf(nanos), currency, i18n.language);
  const priced = models.filter(({ cost }) => cost > 0n).map(({ model }) => model);
  const own = priced.length > COLOURS ? priced.slice(0, COLOURS - 1) : priced;
  const columns: ChartColumn[] = columnsOf(sums, span).map(({ from_ms, cost, costs }) => {
    const parts = own.map((model) => costs.get(model) ?? 0n);
    const others = cost - parts.reduce((sum, part) => sum + part, 0n);
    const all = own.length < priced.length ? [...parts, others] : parts;
    return {
      key: from_ms,
      label: label(from_ms),
      short: short(from_ms),
      // A height needs no more places than a screen has.
      values: all.map(Number),
      texts: all.map(money),
      total: money(cost),
    };
  });
  const top = scaleOf(highest(columns));
  return (
    <Chart
      title={t("usage.cost")}
      unit={unit}
      series={own.length < priced.length ? [...own, t("usage.others")] : own}
      columns={columns}
      top={top}
      scale={[money(BigInt(top)), money(BigInt(top / 2)), money(0n)]}
    />
  );
}

function Models({ models, currency, free }: { models: readonly OfModel[]; currency: string; free: boolean }) {
  const { t, i18n } = useTranslation("programs");
  const number = new Intl.NumberFormat(i18n.language);
  const counts = ["requests", "hit", "miss", "output", "reasoning"] as const;
  const heads = {
    requests: t("usage.requestCount"),
    hit: t("usage.hit"),
    miss: t("usage.miss"),
    output: t("usage.output"),
    reasoning: t("usage.reasoning"),
  };
  return (
    <div className="chart">
      <h3>{t("usage.byModel")}</h3>
      <ScrollTable label={t("usage.byModel")}>
        <thead>
          <tr>
            <th scope="col">{t("usage.model")}</th>
            {counts.map((name) => (
              <th key={name} scope="col" className="number">
                {heads[name]}
              </th>
            ))}
            {!free && (
              <th scope="col" className="number">
                {t("usage.cost")}
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {models.map((of) => (
            <tr key={of.model}>
              <th scope="row">{of.model}</th>
              {counts.map((name) => (
                <td key={name} className="number">
                  {number.format(of[name])}
                </td>
              ))}
              {!free && <td className="number">{moneyText(amountOf(of.cost), currency, i18n.language)}</td>}
            </tr>
          ))}
        </tbody>
      </ScrollTable>
    </div>
  );
}
