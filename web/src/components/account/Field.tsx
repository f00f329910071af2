import { CircleAlert, Eye, EyeOff } from "lucide-react";
import { type ComponentProps, type ReactNode, useId, useState } from "react";
import { useTranslation } from "react-i18next";
import type { FieldName, Problem } from "../../state/account";
import { IconButton } from "../IconButton";

interface Props extends Omit<ComponentProps<"input">, "name"> {
  name: FieldName;
  label: string;
  hint?: string;
  problem: Problem | undefined;
  children?: ReactNode;
}

/** A field with its label, what is allowed in it, and what is wrong with it. */
export function Field({ name, label, hint, problem, children, required = true, ...rest }: Props) {
  const { t } = useTranslation();
  const id = useId();
  const described = [problem !== undefined && `${id}-problem`, hint !== undefined && `${id}-hint`];
  return (
    <div className="form-field">
      <label htmlFor={id}>
        {label}
        {!required && <span className="form-optional"> {t("form.optional")}</span>}
      </label>
      <div className="form-input">
        <input
          type="text"
          autoCapitalize="none"
          autoCorrect="off"
          spellCheck={false}
          {...rest}
          id={id}
          name={name}
          required={required}
          aria-invalid={problem !== undefined}
          aria-describedby={described.filter(Boolean).join(" ") || undefined}
        />
        {children}
      </div>
      {problem !== undefined && (
        <p id={`${id}-problem`} className="form-problem">
          <CircleAlert size={15} aria-hidden className="shrink-0" />
          {t(`problem.${problem}`)}
        </p>
      )}
      {hint !== undefined && (
        <p id={`${id}-hint`} className="form-hint">
          {hint}
        </p>
      )}
    </div>
  );
}

/** An email address. */
export function EmailField(props: Omit<Props, "name" | "type" | "children">) {
  return (
    <Field autoComplete="email" {...props} name="email" type="email" inputMode="email" maxLength={320} />
  );
}

/** A password, which can be looked at. */
export function PasswordField(props: Omit<Props, "type" | "children">) {
  const { t } = useTranslation();
  const [shown, setShown] = useState(false);
  return (
    <Field {...props} type={shown ? "text" : "password"}>
      <IconButton
        icon={shown ? EyeOff : Eye}
        label={t(shown ? "form.hidePassword" : "form.showPassword")}
        onClick={() => setShown(!shown)}
      />
    </Field>
  );
}

/** A code: the six digits of an app, or one of the recovery codes. */
export function CodeField({
  digits,
  ...props
}: Omit<Props, "name" | "type" | "children"> & { digits: boolean }) {
  return (
    <Field
      {...props}
      name="code"
      className="form-code"
      autoComplete={digits ? "one-time-code" : "off"}
      inputMode={digits ? "numeric" : "text"}
      maxLength={64}
    />
  );
}
