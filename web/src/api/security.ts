import { type Admission, call, type NewUser } from "./client";
import type { Schemas, Session } from "./types";

/** How one proves who one is: the requests about it, and their JSON. */

export type Passkey = Schemas["Passkey"];
export type LinkedProvider = Schemas["LinkedProvider"];
/** The ways into one's account. */
export type Security = Schemas["Security"];
/** The password was right, and a code is wanted besides. */
export type SecondFactor = Schemas["SecondFactor"];
export type TotpSetup = Schemas["TotpSetup"];

export type LoginAnswer = Schemas["LoggedIn"];
export type SignUpAnswer = Session | Schemas["SignUpAccepted"];

type Mailed = Schemas["Mailed"];
type Codes = Schemas["RecoveryCodes"];

/** A challenge for the browser, whose options are those of the standard. */
type Asked<Options> = Omit<Schemas["PasskeyBegun"], "options"> & { options: Options };

/** One's own password, asked again; absent for whoever has none. */
export type Password = string | undefined;

const passkeyPath = (id: string): string => `/api/account/passkeys/${encodeURIComponent(id)}`;

/** Letters come in the language of the page, which need not be the browser's. */
const inThisLanguage = (): Record<string, string> => ({ "accept-language": document.documentElement.lang });

/** What opens the way through a crowd: the solution of a challenge, where it is seen before the body. */
const showing = (challenge: string | undefined): Record<string, string> =>
  challenge === undefined ? {} : { "x-cachalot-challenge": challenge };

const send = <T>(path: string, body: unknown, headers: Record<string, string> = {}): Promise<T> =>
  call<T>("POST", path, body, { headers: { ...inThisLanguage(), ...headers } });

export const security = {
  // --- coming in ---

  login: (login: string, password: string, challenge?: string) =>
    call<LoginAnswer>(
      "POST",
      "/api/login",
      { login, password, ...(challenge === undefined ? {} : { challenge }) },
      { headers: showing(challenge) },
    ),

  loginSecond: (ticket: string, code: string) => call<Session>("POST", "/api/login/second", { ticket, code }),

  loginPasskeyOptions: () =>
    call<Asked<PublicKeyCredentialRequestOptionsJSON>>("POST", "/api/login/passkey/options"),

  loginPasskey: (ticket: string, credential: AuthenticationResponseJSON) =>
    call<Session>("POST", "/api/login/passkey", { ticket, credential }),

  signUp: (user: NewUser & Admission) => send<SignUpAnswer>("/api/sign-up", user, showing(user.challenge)),

  verify: (ticket: string, place: string | null = null) =>
    call<Session | Schemas["Waits"]>("POST", "/api/verify", {
      ticket,
      ...(place === null ? {} : { place }),
    }),

  askReset: (email: string) => send<Mailed>("/api/reset", { email }),

  reset: (ticket: string, password: string) => call<void>("POST", "/api/reset/confirm", { ticket, password }),

  // --- one's own account ---

  state: () => call<Security>("GET", "/api/account/security"),

  changePassword: (old: Password, password: string) =>
    call<void>("POST", "/api/account/password", { old, new: password }),

  changeEmail: (email: string, password: Password) =>
    send<Mailed | undefined>("/api/account/email", { email, password }),

  deleteAccount: (password: Password) => call<void>("POST", "/api/account/delete", { password }),

  passkeyOptions: (password: Password) =>
    call<Asked<PublicKeyCredentialCreationOptionsJSON>>("POST", "/api/account/passkeys/options", {
      password,
    }),

  addPasskey: (ticket: string, name: string, credential: RegistrationResponseJSON) =>
    call<Passkey>("POST", "/api/account/passkeys", { ticket, name, credential }),

  renamePasskey: (id: string, name: string) => call<Passkey>("PATCH", passkeyPath(id), { name }),

  removePasskey: (id: string, password: Password) => call<void>("DELETE", passkeyPath(id), { password }),

  beginTotp: (password: Password) => call<TotpSetup>("POST", "/api/account/totp/begin", { password }),

  confirmTotp: (ticket: string, code: string) => call<Codes>("POST", "/api/account/totp", { ticket, code }),

  removeTotp: (password: Password) => call<void>("DELETE", "/api/account/totp", { password }),

  newRecoveryCodes: (password: Password) => call<Codes>("POST", "/api/account/recovery-codes", { password }),

  /** By the provider's id, unlike `unlinkProvider`: there is no link yet. */
  linkProvider: (id: string, password: Password) =>
    call<Schemas["LinkBegun"]>("POST", `/api/account/providers/${encodeURIComponent(id)}/link`, { password }),

  unlinkProvider: (id: string, password: Password) =>
    call<void>("DELETE", `/api/account/providers/${encodeURIComponent(id)}`, { password }),
};
