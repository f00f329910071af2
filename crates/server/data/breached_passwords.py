#!/usr/bin/env python3
"""Makes breached_passwords.txt: the passwords of at least 8 characters that breaches hold most often.

    python3 breached_passwords.py DJANGO_WHEEL ZXCVBN_CRATE_FOLDER

Sources:
- django/contrib/auth/common-passwords.txt.gz of Django 5.2 (BSD-3-Clause): the 20,000 commonest of Have I Been Pwned's
  Pwned Passwords, by Royce Williams.
- The password list of zxcvbn 3.1 (MIT): the 30,000 commonest of ten million that Mark Burnett collected from breaches.
- The commonest of later years, written down below, which both lists are too old for.

In lower case, since case is the first thing that is tried, without repetitions, sorted by bytes.
"""

import gzip
import re
import sys
import zipfile
from pathlib import Path

CHARS_MIN = 8

LATER = """
1q2w3e4r5t6y 1qaz@wsx 1qazxsw2 12345678910 123456789a 123456789q 1234567891 12qwaszx 147258369 1qaz2wsx3edc
a1234567 a12345678 a123456789 aa112233 aa123456 aa12345678 aa123456789 aa@123456 abc123456 abc@1234 abcd@123 abcd@1234
abcd12345 admin@123 admin1234 admin12345 admin123456 administrator admin@1234 asd123456 asdf1234 asdfgh123 azerty123
azertyuiop bismillah bonjour1 changeme changeme1 changeme123 chatgpt1 cisco123 contraseña contraseña1 default1 demo@123
demo1234 doudou123 eli@1234 g_czechout gizli123 guest123 hello123 hello@123 iloveyou123 india@123 india123 juventus1
killer123 letmein1 letmein123 liverpool1 loulou123 lol123456 marseille motdepasse motdepasse1 motdepasse123 naruto123
p@$$w0rd p@ssw0rd p@ssw0rd1 p@ssw0rd123 p@ssword p@ssword1 pass@123 pass@1234 pass1234 passord1 passw0rd passw0rd1
passw0rd! passw0rd123 password! password!1 password.1 password01 password1! password12 password123 password123!
password1234 password@1 password@12 password@123 password2020 password2021 password2022 password2023 password2024
password2025 passwort passwort1 passwort123 pakistan1 pakistan123 pokemon123 q1w2e3r4t5y6 qazwsx123 qazwsxedc qq123456
qwe123456 qwer1234 qwer@1234 qwerty@123 qwerty1! qwerty12345 qwerty123456 qwertyuiop123 qwerty1234 root1234 roblox123
salasana1 samsung1 samsung123 secret123 senha123 sommer2023 sunshine1 sunshine123 superman1 system123 temp1234 test@123
test1234 test12345 theworldinyourhand top_secret ubnt1234 user1234 vodafone1 welcome@1 welcome@123 welcome1 welcome1!
welcome123 welcome2023 welcome2024 winter2023 woaini1314 woaini520 woaini123 wordpass yuantuo2012 zaq12wsx zaq1@wsx
zxcvbnm1 zxcvbnm123 5201314520 1314520520 112233445566 123123123a 11223344 789456123 963852741 iloveyou1! minecraft1
fortnite1 p@55w0rd pa$$w0rd pa$$word pa55word pa55w0rd companyname raspberry raspberrypi correcthorse
correcthorsebatterystaple dragon123 football1 football123 baseball1 monkey123 princess1 princess123 master123 shadow123
michael1 jordan23 charlie1 trustno1 whatever1 starwars1 superman123 batman123 spiderman1
"""


def main() -> None:
    wheel, crate = sys.argv[1:]
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read("django/contrib/auth/common-passwords.txt.gz")
    words = set(gzip.decompress(packed).decode().split("\n"))
    source = Path(crate, "src/frequency_lists.rs").read_text()
    words |= set(re.search(r'const PASSWORDS: &str = "([^"]*)"', source).group(1).split(","))
    words |= set(LATER.split())
    kept = {word.lower() for word in words if len(word) >= CHARS_MIN}
    lines = sorted(word.encode() for word in kept)
    Path(__file__).with_suffix(".txt").write_bytes(b"\n".join(lines) + b"\n")


main()
