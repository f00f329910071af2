import { useTranslation } from "react-i18next";
import type { Balance } from "../../api/programs";
import { moneyText } from "../../state/money";
import { ScrollTable } from "./Chart";

/** What there is to spend, and how it came. */
export function BalanceFacts({ balance }: { balance: Balance }) {
  const { t, i18n } = useTranslation("programs");
  const { currency, credits } = balance;
  const money = (amount: string) => moneyText(amount, currency, i18n.language);
  const at = new Intl.DateTimeFormat(i18n.language, { dateStyle: "medium", timeStyle: "short" });
  return (
    <>
      <dl className="facts balance-facts">
        <dt>{t("balance.available")}</dt>
        <dd className="balance-available">{money(balance.available)}</dd>
        <dt>{t("balance.granted")}</dt>
        <dd>{money(balance.granted)}</dd>
        <dt>{t("balance.toppedUp")}</dt>
        <dd>{money(balance.topped_up)}</dd>
        <dt>{t("balance.held")}</dt>
        <dd>{money(balance.held)}</dd>
      </dl>
      {credits.length > 0 && (
        <details className="numbers">
          <summary>{t("balance.credits")}</summary>
          <ScrollTable label={t("balance.credits")}>
            <thead>
              <tr>
                <th scope="col">{t("usage.time")}</th>
                <th scope="col">{t("balance.kind")}</th>
                <th scope="col" className="number">
                  {t("balance.amount")}
                </th>
                <th scope="col">{t("balance.note")}</th>
              </tr>
            </thead>
            <tbody>
              {credits.map((credit) => (
                <tr key={credit.id}>
                  <th scope="row">
                    <time dateTime={new Date(credit.at_ms).toISOString()}>{at.format(credit.at_ms)}</time>
                  </th>
                  <td>{t(`balance.kinds.${credit.kind}`)}</td>
                  <td className="number">{money(credit.amount)}</td>
                  <td dir="auto" className="table-text">
                    {credit.note}
                  </td>
                </tr>
              ))}
            </tbody>
          </ScrollTable>
        </details>
      )}
    </>
  );
}
