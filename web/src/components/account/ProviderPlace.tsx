import { LogIn } from "lucide-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Provider } from "../../api/types";
import { recallPlace, rememberPlace } from "../../state/newcomer";
import { fragmentOf, pathVia, providerPath, returnPath } from "../../state/route";
import { go } from "../../state/session";
import { GateBanner } from "../gate/GateBanner";
import { PlaceCard } from "../gate/PlaceCard";
import { Turn } from "../gate/Turn";
import { usePlace } from "../gate/usePlace";
import { EntryPage } from "./EntryPage";

/** Takes the place that the way back from the provider has brought along out of the address. */
function keepPlace(id: string): void {
  const { pathname, search, hash } = window.location;
  const given = fragmentOf(hash, "place");
  if (given === null) return;
  rememberPlace(`provider.${id}`, given);
  window.history.replaceState(null, "", pathname + search);
}

/** The place in line of somebody who comes by a provider. */
export function ProviderPlace({ provider: { id, name } }: { provider: Provider }) {
  const { t } = useTranslation();
  // Before it is looked for.
  useState(() => keepPlace(id));
  const of = `provider.${id}` as const;
  const place = usePlace(of);
  const { ticket, waiting } = place;
  const login = pathVia("/login", returnPath(window.location.search));
  // Without a place there is nothing to wait for here; the form is next door.
  useEffect(() => {
    if (ticket === null && recallPlace(of) === null && !place.gone) go(login);
  }, [ticket, of, place.gone, login]);
  return (
    <EntryPage title={t("signUp.title")}>
      <GateBanner on="sign-up" />
      {place.gone && (
        <p className="note form-note" role="status">
          {t("gate.place.gone")}
        </p>
      )}
      {ticket !== null && waiting?.called_up !== true && <PlaceCard place={place} />}
      {waiting?.called_up && <Turn waiting={waiting}>{t("gate.place.provider", { name })}</Turn>}
      {(waiting?.called_up || place.gone) && (
        <div className="ways">
          <a href={providerPath(id, returnPath(window.location.search), ticket)} className="button">
            <LogIn size={17} aria-hidden />
            <span className="ways-name">{t("security.login.provider", { name })}</span>
          </a>
        </div>
      )}
    </EntryPage>
  );
}
