import { Link } from "lucide-react";
import { useRef } from "react";
import { useTranslation } from "react-i18next";
import { ApiError } from "../../api/client";
import { security as api, type LinkedProvider } from "../../api/security";
import type { Provider } from "../../api/types";
import { orLastWayIn } from "../../state/account";
import { linkPath } from "../../state/route";
import { useSession } from "../../state/session";
import { useSaid } from "../useSaid";
import { Section } from "./AccountPage";
import { IdentityDialog } from "./IdentityDialog";
import { ProviderNote } from "./ProviderNote";
import { useFocusAfter } from "./useFocusAfter";
import type { Standing } from "./useSecurity";

/** Who else may vouch for one, of those that this server knows. */
export function LinkedProviders({ standing }: { standing: Standing }) {
  const { t } = useTranslation();
  const known = useSession((state) => state.providers);
  const [said, say] = useSaid(t);
  const list = useRef<HTMLUListElement>(null);
  const focusList = useFocusAfter(list);
  const linked = standing.security.providers;
  // A link has an id of its own, and the name of its provider.
  const others = known.filter(({ name }) => !linked.some((link) => link.name === name));
  if (known.length === 0 && linked.length === 0) return null;
  const unlink = async (gone: LinkedProvider, password: string | undefined) => {
    try {
      await api.unlinkProvider(gone.id, password);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw orLastWayIn(error);
    }
    standing.onChange({ providers: linked.filter(({ id }) => id !== gone.id) });
    say((t) => t("security.providers.unlinked", { name: gone.name }));
    focusList();
  };
  return (
    <Section title={t("security.providers.title")} text={t("security.providers.text")}>
      <ProviderNote />
      <ul className="devices" ref={list} tabIndex={-1} aria-label={t("security.providers.title")}>
        {linked.map((provider) => (
          <ProviderItem
            key={provider.id}
            provider={provider}
            standing={standing}
            onUnlink={(password) => unlink(provider, password)}
          />
        ))}
      </ul>
      {others.length > 0 && (
        <div className="button-row">
          {others.map((provider) => (
            <LinkButton key={provider.id} provider={provider} standing={standing} />
          ))}
        </div>
      )}
      <p className="account-said" role="status">
        {said}
      </p>
    </Section>
  );
}

/** Asks who it is that lets somebody else vouch for them, and goes there. */
function LinkButton({ provider: { id, name }, standing }: { provider: Provider; standing: Standing }) {
  const { t } = useTranslation();
  const label = t("security.providers.link", { name });
  const link = async (password: string | undefined) => {
    const { ticket } = await api.linkProvider(id, password);
    location.assign(linkPath(id, ticket));
  };
  return (
    <IdentityDialog
      standing={standing}
      trigger={
        <button type="button" className="button">
          <Link size={16} aria-hidden />
          {label}
        </button>
      }
      title={label}
      text={t("security.providers.text")}
      submit={label}
      act={link}
    />
  );
}

interface ItemProps {
  provider: LinkedProvider;
  standing: Standing;
  onUnlink: (password: string | undefined) => Promise<void>;
}

function ProviderItem({ provider, standing, onUnlink }: ItemProps) {
  const { t, i18n } = useTranslation();
  const { name, created_ms } = provider;
  const since = new Intl.DateTimeFormat(i18n.language, { dateStyle: "medium" }).format(created_ms);
  return (
    <li className="device">
      <Link size={22} aria-hidden className="shrink-0" />
      <div className="grow min-w-0">
        <p className="device-name">{name}</p>
        <p className="device-facts">{t("security.providers.since", { when: since })}</p>
      </div>
      <IdentityDialog
        standing={standing}
        trigger={
          <button type="button" className="button" aria-label={t("security.providers.unlinkLabel", { name })}>
            {t("security.providers.unlink")}
          </button>
        }
        title={t("security.providers.question", { name })}
        text={t("security.providers.warning", { name })}
        submit={t("security.providers.unlink")}
        danger
        act={onUnlink}
      />
    </li>
  );
}
