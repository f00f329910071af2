import { TriangleAlert } from "lucide-react";
import { useTranslation } from "react-i18next";
import { useSession } from "../../state/session";

/** What went wrong at the provider from which one has come back. */
export function ProviderNote() {
  const { t } = useTranslation();
  const error = useSession((state) => state.providerError);
  if (error === null) return null;
  return (
    <div className="note note-danger form-note" role="alert">
      <TriangleAlert size={18} aria-hidden className="shrink-0" />
      {t(`security.providerErrors.${error}`)}
    </div>
  );
}
