import { TriangleAlert } from "lucide-react";
import { useTranslation } from "react-i18next";
import { providerErrorOf } from "../../state/route";

/** What went wrong on the way back from a provider, as the address says it. */
export function ProviderNote() {
  const { t } = useTranslation();
  const error = providerErrorOf(window.location.search);
  if (error === null) return null;
  return (
    <div className="note note-danger form-note" role="alert">
      <TriangleAlert size={18} aria-hidden className="shrink-0" />
      {t(`security.providerErrors.${error}`)}
    </div>
  );
}
