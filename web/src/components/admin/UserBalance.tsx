import { type FormEvent, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Account } from "../../api/admin";
import { type Balance, programs } from "../../api/programs";
import { type CreditFields, type CreditProblem, creditOf, creditWays } from "../../state/credit";
import { moneyText } from "../../state/money";
import { Section } from "../account/AccountPage";
import { SubmitButton } from "../account/FormFoot";
import { BalanceFacts } from "../programs/Balance";
import { Failed, Outcome, Radios, TextField, useAction, useQuestion, Waiting } from "./parts";
import { useLoaded } from "./useLoaded";

/** What a user has to spend, which administrators may change. */
export function UserBalance({ account, administers }: { account: Account; administers: boolean }) {
  const { t } = useTranslation("programs");
  const { loaded, reload, put } = useLoaded(() => programs.userBalance(account.id));
  const balance = loaded.state === "ready" ? loaded.value : null;
  return (
    <Section title={t("balance.title")} {...(balance?.free ? { text: t("balance.free") } : {})}>
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      {balance !== null && !(balance.free && balance.credits.length === 0) && (
        <BalanceFacts balance={balance} />
      )}
      {balance !== null && administers && <CreditForm account={account} balance={balance} onChanged={put} />}
    </Section>
  );
}

const empty: CreditFields = { way: "grant", amount: "", note: "" };

interface FormProps {
  account: Account;
  balance: Balance;
  onChanged: (balance: Balance) => void;
}

function CreditForm({ account, balance: { currency }, onChanged }: FormProps) {
  const { t, i18n } = useTranslation("programs");
  const [fields, setFields] = useState(empty);
  const [wrong, setWrong] = useState<CreditProblem | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const action = useAction(t);
  const { ask, dialog } = useQuestion();
  const money = (amount: string) => moneyText(amount, currency, i18n.language);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const credit = creditOf(fields, i18n.language);
    setWrong(typeof credit === "string" ? credit : null);
    if (typeof credit === "string") {
      form.current?.querySelector<HTMLInputElement>(`input[name="${credit}"]`)?.focus();
      return;
    }
    const act = () =>
      void action.act("credit", async () => {
        onChanged(await programs.addCredit(account.id, credit));
        setFields(empty);
        return (t) => t("credit.done");
      });
    const less = credit.amount.startsWith("-");
    const amount = money(credit.amount.replace("-", ""));
    ask({
      title: t(less ? "credit.takeQuestion" : "credit.giveQuestion", { name: account.name, amount }),
      text: t(less ? "credit.takeText" : "credit.giveText"),
      confirm: t(less ? "credit.take" : "credit.give"),
      act,
    });
  };
  return (
    <details className="more-fields">
      <summary>{t("credit.title")}</summary>
      <form ref={form} noValidate className="account-form" onSubmit={submit}>
        <Radios
          label={t("credit.way")}
          choices={creditWays.map((value) => ({ value, name: t(`credit.ways.${value}`) }))}
          chosen={fields.way}
          onChoose={(way) => setFields({ ...fields, way })}
        />
        <TextField
          name="amount"
          inputMode="decimal"
          label={t("credit.amount", { currency })}
          value={fields.amount}
          problem={wrong === "amount" ? t("credit.amountWrong") : null}
          onChange={({ target }) => setFields({ ...fields, amount: target.value })}
        />
        <TextField
          name="note"
          label={t("credit.note")}
          hint={t("credit.noteHint")}
          value={fields.note}
          problem={wrong === "note" ? t("credit.noteWrong") : null}
          onChange={({ target }) => setFields({ ...fields, note: target.value })}
        />
        <SubmitButton busy={action.busy !== null} wait_s={0}>
          {t("credit.submit")}
        </SubmitButton>
        <Outcome action={action} />
      </form>
      {dialog}
    </details>
  );
}
