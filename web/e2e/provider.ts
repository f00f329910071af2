import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import Provider from "oidc-provider";

const SCOPES = "openid profile email";
const FORM_LENGTH_MAX = 1000;

const PAGE = `<!doctype html><html lang="en"><title>The harbour</title>
<link rel="icon" href="data:,">
<form method="post"><label>Sailor <input name="sailor"></label>
<button>Go aboard</button><button name="refused" value="yes">Turn back</button></form></html>`;

export const CLIENT = { id: "cachalot", secret: randomBytes(32).toString("base64url") } as const;

/** A provider of OpenID Connect that believes whoever says who they are. */
export class Harbour {
  readonly #server: Server;
  readonly issuer: string;

  private constructor(server: Server, issuer: string) {
    this.#server = server;
    this.issuer = issuer;
  }

  /** `back` is where it may send people to, once somebody has asked. */
  static async open(back: () => string): Promise<Harbour> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("the provider has no port");
    const issuer = `http://127.0.0.1:${address.port}`;
    let provider: Provider | null = null;
    server.on("request", (request, response) => {
      provider ??= providerAt(issuer, back());
      void answer(provider, request, response).catch((error: unknown) => {
        response.writeHead(500).end(String(error));
      });
    });
    return new Harbour(server, issuer);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

function providerAt(issuer: string, back: string): Provider {
  const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
  return new Provider(issuer, {
    clients: [{ client_id: CLIENT.id, client_secret: CLIENT.secret, redirect_uris: [back] }],
    jwks: { keys: [{ ...key, kty: "RSA", alg: "RS256", use: "sig" }] },
    cookies: { keys: [randomBytes(32).toString("base64url")] },
    claims: { openid: ["sub"], profile: ["name", "preferred_username"], email: ["email", "email_verified"] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    findAccount: (_, sailor) => ({
      accountId: sailor,
      claims: () => ({
        sub: sailor,
        name: sailor,
        preferred_username: sailor,
        email: `${sailor.toLowerCase().replaceAll(" ", ".")}@harbour.example`,
        email_verified: true,
      }),
    }),
    // Whoever comes from this client has agreed.
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({
        clientId: CLIENT.id,
        accountId: oidc.session?.accountId ?? "",
      });
      grant.addOIDCScope(SCOPES);
      await grant.save();
      return grant;
    },
  });
}

async function answer(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.url?.startsWith("/interaction/") !== true) {
    await provider.callback()(request, response);
  } else if (request.method === "POST") {
    const form = await formOf(request);
    const result =
      form.get("refused") === "yes"
        ? { error: "access_denied" }
        : { login: { accountId: form.get("sailor") ?? "" } };
    await provider.interactionFinished(request, response, result);
  } else {
    await provider.interactionDetails(request, response);
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(PAGE);
  }
}

async function formOf(request: IncomingMessage): Promise<URLSearchParams> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  if (text.length > FORM_LENGTH_MAX) throw new Error(`a form of ${text.length} characters`);
  return new URLSearchParams(text);
}
