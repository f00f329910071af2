import type { TFunction } from "i18next";
import { useTranslation } from "react-i18next";
import type { Prices } from "../../api/programs";
import { moneyText, nanosOf } from "../../state/money";
import { Section } from "../account/AccountPage";
import { ScrollTable } from "../programs/Chart";

/** Which requests a price is for, and the server's own word for what is not known here. */
const classText = (of: string | null, t: TFunction<"programs">): string =>
  of === null ? t("prices.anyClass") : of === "key" || of === "session" ? t(`prices.classes.${of}`) : of;

/** What requests cost, as the configuration says it: the first line that fits a request counts. */
export function PriceList({ prices: { currency, sign_up_credit, prices } }: { prices: Prices }) {
  const { t, i18n } = useTranslation("programs");
  const money = (amount: string) => moneyText(amount, currency, i18n.language);
  return (
    <Section title={t("prices.title")} text={prices.length === 0 ? t("prices.none") : t("prices.text")}>
      {prices.length > 0 && (
        <ScrollTable label={t("prices.title")}>
          <thead>
            <tr>
              <th scope="col">{t("usage.model")}</th>
              <th scope="col">{t("prices.class")}</th>
              <th scope="col">{t("prices.hours")}</th>
              <th scope="col" className="number">
                {t("usage.hit")}
              </th>
              <th scope="col" className="number">
                {t("usage.miss")}
              </th>
              <th scope="col" className="number">
                {t("usage.output")}
              </th>
            </tr>
          </thead>
          <tbody>
            {prices.map(({ model, class: of, hours, hit, miss, output }) => (
              <tr key={`${model} ${of} ${hours}`}>
                <th scope="row">{model ?? t("prices.any")}</th>
                <td>{classText(of, t)}</td>
                <td>{hours ?? t("prices.always")}</td>
                <td className="number">{money(hit)}</td>
                <td className="number">{money(miss)}</td>
                <td className="number">{money(output)}</td>
              </tr>
            ))}
          </tbody>
        </ScrollTable>
      )}
      {nanosOf(sign_up_credit) !== 0n && (
        <p className="account-text">{t("prices.signUp", { amount: money(sign_up_credit) })}</p>
      )}
    </Section>
  );
}
