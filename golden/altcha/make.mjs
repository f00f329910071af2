// Challenges and their first right answers, made by the library of the `altcha` package.
//
//   npm pack altcha@3.2.2 && tar xzf altcha-3.2.2.tgz
//   node make.mjs package/dist/lib/index.js > solved.json
//
// Nonces and salts are drawn anew each time, so a second run makes other challenges.

import path from "node:path";

const { createChallenge, pbkdf2, solveChallenge } = await import(path.resolve(process.argv[2]));

const cases = [];
for (const [cost, keyPrefix] of [[1, "0"], [10, "00"], [1000, "0"], [25, "000"]]) {
  const secret = `a secret of ${cost} and ${keyPrefix}`;
  const challenge = await createChallenge({
    algorithm: "PBKDF2/SHA-256",
    cost,
    data: { scope: "00112233445566778899aabbccddeeff", action: "sign up" },
    deriveKey: pbkdf2.deriveKey,
    expiresAt: 1800000300,
    hmacSignatureSecret: secret,
    keyPrefix,
  });
  const solution = await solveChallenge({ challenge, deriveKey: pbkdf2.deriveKey });
  cases.push({ secret, challenge, solution });
}
console.log(JSON.stringify(cases, null, 2));
