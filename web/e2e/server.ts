import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, request } from "@playwright/test";

const READY_MS_MAX = 120_000;
const LINK_MS_MAX = 10_000;
const STOP_MS_MAX = 30_000;
const LOG_LENGTH_MAX = 20_000;

/** All the tests' newcomers come from one address, which is no attack. */
const CROWD = {
  CACHALOT_REGISTRATION_ACCOUNTS_PER_ADDRESS: "1000",
  CACHALOT_REGISTRATION_ACCOUNTS_PER_NETWORK: "1000",
} as const;

/** The first administrator, as whom the tests are signed in. */
export const ADMINISTRATOR = { name: "Ahab", password: "the whale sings at dusk" } as const;

type StorageState = Awaited<ReturnType<BrowserContext["storageState"]>>;

/** Settings of the program that will answer at `url`. */
interface Settings {
  /** Variables of its environment. */
  variables?: Readonly<Record<string, string>>;
  /** The text of its configuration file. */
  file?: string;
}

type SettingsOf = (url: string) => Settings;

const asItComes: SettingsOf = () => ({});

/** The value of a variable that names a file; the suite fails without it. */
function fileOf(variable: string): string {
  const path = process.env[variable];
  if (path === undefined || path === "") throw new Error(`${variable} must name a file; it is not set`);
  if (!existsSync(path)) throw new Error(`${variable} names ${path}, and there is no such file`);
  return path;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (address === null || typeof address === "string") return reject(new Error("no port was given"));
      server.close(() => resolve(address.port));
    });
  });
}

const pause = (duration_ms: number) => new Promise((resolve) => setTimeout(resolve, duration_ms));

/** The real program with the real model, in a home of its own. */
export class Server {
  readonly url: string;
  /** The same by a name, without which browsers make no passkeys. */
  readonly namedUrl: string;
  readonly #binary = fileOf("CACHALOT_BIN");
  readonly #model: string;
  readonly #home = mkdtempSync(join(tmpdir(), "cachalot-e2e-"));
  readonly #port: number;
  #process: ChildProcess | null = null;
  #log = "";
  readonly #settings: Settings;
  #state: StorageState | null = null;

  private constructor(port: number, settingsOf: SettingsOf, model: string) {
    this.#model = fileOf(model);
    this.#port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.namedUrl = `http://localhost:${port}`;
    this.#settings = settingsOf(this.url);
    const { file } = this.#settings;
    if (file !== undefined) writeFileSync(join(this.#home, "cachalot.toml"), file, { mode: 0o600 });
  }

  static async create(settingsOf = asItComes): Promise<Server> {
    const server = await Server.createEmpty(settingsOf);
    await server.#setUp();
    return server;
  }

  /** A server of a model that thinks: the same weights with another template. */
  static async createThinking(): Promise<Server> {
    return Server.createEmpty(asItComes, "CACHALOT_TEST_THINKER");
  }

  static async createEmpty(settingsOf = asItComes, model = "CACHALOT_TEST_MODEL"): Promise<Server> {
    const server = new Server(await freePort(), settingsOf, model);
    await server.start();
    return server;
  }

  /** The one-time link that the program prints as long as there is no user. */
  async setupLink(): Promise<string> {
    const end = performance.now() + LINK_MS_MAX;
    while (performance.now() < end) {
      const link = /https?:\/\/\S+\/setup#[\w-]+/.exec(this.#log)?.[0];
      // It may name the machine as others reach it; the tests stay at one address, as the cookie does.
      if (link !== undefined) return this.url + link.slice(link.indexOf("/setup#"));
      await pause(50);
    }
    throw new Error(`the server printed no setup link:\n${this.#log}`);
  }

  /** What a browser of the administrator keeps: the cookie of a session. */
  get administrator(): StorageState {
    if (this.#state === null) throw new Error("the server has no administrator yet");
    return this.#state;
  }

  /** A new key of the administrator's. */
  async key(scope: Readonly<Record<string, unknown>>): Promise<string> {
    const browser = await request.newContext({
      baseURL: this.url,
      extraHTTPHeaders: { origin: this.url },
      storageState: this.administrator,
    });
    const response = await browser.post("/api/keys", { data: { name: "tests", ...scope } });
    if (!response.ok()) throw new Error(`the key was refused: ${await response.text()}`);
    const { secret } = (await response.json()) as { secret: string };
    await browser.dispose();
    return secret;
  }

  async #setUp(): Promise<void> {
    const link = await this.setupLink();
    const browser = await request.newContext({ baseURL: this.url, extraHTTPHeaders: { origin: this.url } });
    const response = await browser.post("/api/setup", {
      data: { token: link.slice(link.indexOf("#") + 1), ...ADMINISTRATOR },
    });
    if (!response.ok()) throw new Error(`the setup was refused: ${await response.text()}`);
    this.#state = await browser.storageState();
    await browser.dispose();
  }

  /** Starts the program, at the same address and with the same data as before. */
  async start(): Promise<void> {
    const address = `127.0.0.1:${this.#port}`;
    const child = spawn(this.#binary, ["up", "--listen", address, "--model", this.#model], {
      env: {
        ...process.env,
        CACHALOT_PACK_CACHE_GIB: "0",
        ...CROWD,
        ...this.#settings.variables,
        CACHALOT_HOME: this.#home,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const keep = (chunk: Buffer) => {
      this.#log = (this.#log + chunk.toString()).slice(-LOG_LENGTH_MAX);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", (error) => keep(Buffer.from(String(error))));
    this.#process = child;
    await this.#ready(child);
  }

  async #ready(child: ChildProcess): Promise<void> {
    const end = performance.now() + READY_MS_MAX;
    while (performance.now() < end) {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${this.#log}`);
      const ready = await fetch(`${this.url}/readyz`).then(
        (response) => response.ok,
        () => false,
      );
      if (ready) return;
      await pause(100);
    }
    throw new Error(`the server was not ready after ${READY_MS_MAX} ms:\n${this.#log}`);
  }

  /** Ends the program at once, as a crash would. */
  async crash(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Ends the program as an operator would, and removes its data. */
  async dispose(): Promise<void> {
    await this.#end("SIGTERM");
    rmSync(this.#home, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    await ended;
    clearTimeout(late);
  }
}
