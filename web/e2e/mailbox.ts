import { createServer, type Server, type Socket } from "node:net";

const WAIT_MS_MAX = 30_000;

interface Letter {
  to: string;
  text: string;
}

/** A mail server that takes every letter and passes none on. */
export class Mailbox {
  readonly #server: Server;
  readonly #letters: Letter[] = [];

  private constructor() {
    this.#server = createServer((socket) => this.#talk(socket));
  }

  static async open(): Promise<Mailbox> {
    const mailbox = new Mailbox();
    await new Promise<void>((resolve) => mailbox.#server.listen(0, "127.0.0.1", resolve));
    return mailbox;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the mailbox has no port");
    return address.port;
  }

  close(): void {
    this.#server.close();
  }

  /** The text of the next letter to this address, which is then taken out. */
  async next(to: string): Promise<string> {
    const end = performance.now() + WAIT_MS_MAX;
    while (performance.now() < end) {
      const index = this.#letters.findIndex((letter) => letter.to === to);
      const [letter] = index < 0 ? [] : this.#letters.splice(index, 1);
      if (letter !== undefined) return letter.text;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`no letter has come to ${to}`);
  }

  /** As much of SMTP (RFC 5321) as a client needs that sends plain text. */
  #talk(socket: Socket): void {
    let rest = "";
    let to = "";
    let data: string[] | null = null;
    const line = (text: string) => {
      if (data === null) {
        const [, address] = /^RCPT TO:<([^>]*)>/i.exec(text) ?? [];
        if (address !== undefined) to = address;
        if (/^DATA$/i.test(text)) data = [];
        socket.write(data !== null ? "354 go on\r\n" : /^QUIT$/i.test(text) ? "221 bye\r\n" : "250 yes\r\n");
      } else if (text === ".") {
        this.#letters.push({ to, text: textOf(data) });
        data = null;
        socket.write("250 taken\r\n");
      } else data.push(text.replace(/^\./, ""));
    };
    socket.setEncoding("latin1");
    socket.on("error", () => {});
    socket.on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\r\n");
      rest = lines.pop() ?? "";
      for (const text of lines) line(text);
    });
    socket.write("220 mailbox\r\n");
  }
}

/** The text of a letter of one part, in any of the encodings of RFC 2045. */
function textOf(lines: readonly string[]): string {
  const blank = lines.indexOf("");
  const [, encoding] = /^content-transfer-encoding:\s*(\S+)/im.exec(lines.slice(0, blank).join("\n")) ?? [];
  const body = lines.slice(blank + 1).join("\n");
  if (encoding === "base64") return Buffer.from(body, "base64").toString();
  if (encoding !== "quoted-printable") return Buffer.from(body, "latin1").toString();
  const bytes = body
    .replace(/=\n/g, "")
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}
