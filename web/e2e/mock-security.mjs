// The mock server's ways of proving who one is: codes, passkeys, letters, a provider. Codes are real ones; a passkey's signature
// is believed, and letters are printed instead of sent.
import { createHmac, randomBytes, randomUUID } from "node:crypto";

const STEP_S = 30;
const LIFE_S = 300;
const PASSKEYS_MAX = 20;
const CODES = 10;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** What the server can do, by its environment. */
export const abilities = () => ({
  mail: process.env.MAIL !== "off",
  passkeys: process.env.PASSKEYS !== "off",
  providers: process.env.PROVIDERS === "off" ? [] : [{ id: "harbour", name: "Harbour Office" }],
});

function base32(bytes) {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return (bits.match(/.{5}/g) ?? []).map((five) => ALPHABET[Number.parseInt(five, 2)]).join("");
}

/** RFC 6238, as every app does it. */
function totpCode(secret, step) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac("sha1", secret).update(counter).digest();
  const number = mac.readUInt32BE(mac[19] & 15) & 0x7fff_ffff;
  return String(number % 1_000_000).padStart(6, "0");
}

const newCodes = () =>
  Array.from({ length: CODES }, () =>
    randomBytes(8)
      .toString("hex")
      .replace(/.{4}(?=.)/g, "$&-"),
  );

const tickets = new Map();

function ticket(content) {
  const id = randomUUID();
  tickets.set(id, { content, end_ms: Date.now() + LIFE_S * 1000 });
  return id;
}

/** What a ticket holds, which is good once; undefined for one that isn't or is too old. */
function opened(id, keep = false) {
  const held = tickets.get(id);
  if (!keep) tickets.delete(id);
  return held === undefined || held.end_ms < Date.now() ? undefined : held.content;
}

/** What a new user has. A user with neither password nor lately signed in is told to sign in again. */
export const noFactors = () => ({ totp: null, codes: [], passkeys: [], providers: [] });

const shown = ({ id, name, created_ms, used_ms }) => ({ id, name, created_ms, used_ms });

export function seedFactors(held) {
  const day = 86_400_000;
  held.passkeys = [
    {
      id: randomUUID(),
      name: "Chrome on Windows",
      created_ms: Date.now() - 40 * day,
      used_ms: Date.now() - 2 * day,
      credential: "none",
    },
  ];
}

export function securityRoutes({ users, error, enter, bodyOf, refusedUser, addUser, named, revoke }) {
  const none = { status: 204, body: null };
  const answer = (body, status = 200) => ({ status, body });
  const expired = () => error(401, "ticket_expired", "the ticket is too old");
  const spent = () => error(400, "ticket_invalid", "the link was used already");
  const letter = (path, held) => console.log(`mock letter: /${path}#${ticket(held)}`);

  /** Runs `act` once the password, or a fresh session, is there. */
  const confirmed = (act) => (body, session, id) => {
    const held = users.get(session.user);
    if (held.password !== null && held.password !== body.password)
      return error(401, "wrong_password", "the password is wrong");
    if (held.password === null && Date.now() - session.created_ms > LIFE_S * 1000)
      return error(403, "sign_in_again", "sign in again first");
    return act(held, body, session, id);
  };
  const lastWay = (held) =>
    held.password === null && held.passkeys.length + held.providers.length === 1
      ? error(409, "conflict", "this is the last way in")
      : null;

  function rightCode(held, code) {
    const now = Math.floor(Date.now() / 1000 / STEP_S);
    const step = [now, now - 1, now + 1].find((one) => totpCode(held.totp.secret, one) === code);
    if (step !== undefined && step > held.totp.used) {
      held.totp.used = step;
      return true;
    }
    const plain = (text) => text.toLowerCase().replace(/[\s-]/g, "");
    const left = held.codes.filter((known) => plain(known) !== plain(code));
    const used = left.length < held.codes.length;
    held.codes = left;
    return used;
  }

  const open = {
    "POST login/second": ({ ticket: id, code }, request) => {
      const user = opened(id, true);
      if (user === undefined) return expired();
      const held = users.get(user);
      return rightCode(held, code)
        ? enter(200, held.user, request)
        : error(401, "wrong_code", "the code is wrong");
    },
    "POST login/passkey/options": () =>
      answer({
        ticket: ticket("passkey"),
        options: {
          challenge: randomBytes(32).toString("base64url"),
          timeout: LIFE_S * 1000,
          userVerification: "required",
          allowCredentials: [],
        },
      }),
    "POST login/passkey": ({ ticket: id, credential }, request) => {
      if (opened(id) === undefined) return expired();
      for (const held of users.values()) {
        const passkey = held.passkeys.find((known) => known.credential === credential.id);
        if (passkey === undefined) continue;
        passkey.used_ms = Date.now();
        return enter(200, held.user, request);
      }
      return error(401, "wrong_passkey", "the passkey is not known");
    },
    "POST verify": ({ ticket: id }, request, session) => {
      const held = opened(id);
      if (held === undefined) return spent();
      if (held.change === undefined)
        return refusedUser(held) ?? enter(201, addUser({ ...held, email_verified: true }, "user"), request);
      Object.assign(users.get(held.change).user, { email: held.email, email_verified: true });
      return answer(bodyOf(session));
    },
    "POST reset": ({ email }) => {
      const held = named(email);
      if (held !== undefined) letter("reset", held.user.id);
      return answer({ mailed: true }, 202);
    },
    "POST reset/confirm": ({ ticket: id, password }) => {
      if (password === "password")
        return error(422, "breached_password", "too common", { param: "password" });
      const user = opened(id);
      if (user === undefined) return spent();
      users.get(user).password = password;
      return revoke((session) => session.user === user);
    },
  };

  const own = {
    "GET account/security": (_body, session) => {
      const held = users.get(session.user);
      return answer({
        password: held.password !== null,
        totp: held.totp !== null,
        recovery_codes_left: held.codes.length,
        passkeys: held.passkeys.map(shown),
        providers: held.providers,
      });
    },
    "POST account/email": confirmed((held, { email }) => {
      letter("verify", { change: held.user.id, email });
      return answer({ mailed: true }, 202);
    }),
    "POST account/passkeys/options": confirmed((held) => {
      if (held.passkeys.length >= PASSKEYS_MAX) return error(409, "full", "at most 20 passkeys");
      return answer({
        ticket: ticket(held.user.id),
        options: {
          challenge: randomBytes(32).toString("base64url"),
          rp: { name: "Cachalot" },
          user: {
            id: Buffer.from(held.user.id).toString("base64url"),
            name: held.user.name,
            displayName: held.user.name,
          },
          pubKeyCredParams: [-7, -257].map((alg) => ({ type: "public-key", alg })),
          timeout: LIFE_S * 1000,
          authenticatorSelection: { residentKey: "required", userVerification: "required" },
          excludeCredentials: held.passkeys
            .filter(({ credential }) => credential !== "none")
            .map(({ credential }) => ({ type: "public-key", id: credential })),
        },
      });
    }),
    "POST account/passkeys": ({ ticket: id, name, credential }, session) => {
      if (opened(id) !== session.user) return expired();
      const passkey = {
        id: randomUUID(),
        name,
        created_ms: Date.now(),
        used_ms: null,
        credential: credential.id,
      };
      users.get(session.user).passkeys.push(passkey);
      return answer(shown(passkey), 201);
    },
    "POST account/totp/begin": confirmed((held) => {
      const secret = randomBytes(20);
      const name = encodeURIComponent(held.user.name);
      const uri = `otpauth://totp/Cachalot:${name}?secret=${base32(secret)}&issuer=Cachalot`;
      return answer({ ticket: ticket({ secret }), secret: base32(secret), uri });
    }),
    "POST account/totp": ({ ticket: id, code }, session) => {
      const begun = opened(id, true);
      if (begun === undefined) return expired();
      const held = users.get(session.user);
      const before = held.totp;
      held.totp = { secret: begun.secret, used: 0 };
      if (!rightCode(held, code)) {
        held.totp = before;
        return error(401, "wrong_code", "the code is wrong");
      }
      held.codes = newCodes();
      return answer({ recovery_codes: held.codes });
    },
    "DELETE account/totp": confirmed((held) => {
      held.totp = null;
      held.codes = [];
      return none;
    }),
    "POST account/recovery-codes": confirmed((held) => {
      held.codes = newCodes();
      return answer({ recovery_codes: held.codes });
    }),
  };

  const removePasskey = confirmed((held, _body, _session, id) => {
    const refused = lastWay(held);
    if (refused === null) held.passkeys = held.passkeys.filter((known) => known.id !== id);
    return refused ?? none;
  });
  const unlink = confirmed((held, _body, _session, id) => {
    const refused = lastWay(held);
    if (refused === null) held.providers = held.providers.filter((known) => known.id !== id);
    return refused ?? none;
  });

  const link = confirmed((held, _body, _session, id) =>
    abilities().providers.some((provider) => provider.id === id)
      ? answer({ ticket: ticket({ link: held.user.id, provider: id }) })
      : error(404, "not_found", "there is no such provider"),
  );

  /** What is about one passkey or one provider. */
  function ofOne(method, [, kind, id, what], body, session) {
    if (kind === "providers" && what === "link" && method === "POST") return link(body, session, id);
    if (kind === "providers" && method === "DELETE") return unlink(body, session, id);
    if (kind !== "passkeys" || id === undefined) return undefined;
    const passkey = users.get(session.user).passkeys.find((known) => known.id === id);
    if (passkey === undefined) return error(404, "not_found", "there is no such passkey");
    if (method === "DELETE") return removePasskey(body, session, id);
    passkey.name = body.name;
    return answer(shown(passkey));
  }

  /** A login whose password was right: a code may be wanted besides. */
  const afterPassword = (held, request) =>
    held.totp === null
      ? enter(200, held.user, request)
      : answer({ second_factor: { ticket: ticket(held.user.id), expires_s: LIFE_S } });

  /** A sign-up that is made when its letter is answered. */
  const mailed = (body) => {
    if (named(body.email) === undefined) letter("verify", body);
    return answer({ mailed: true }, 202);
  };

  return { open, own, ofOne, afterPassword, mailed };
}
