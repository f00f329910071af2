//! What letters say, in each language. `{site}` is the name of this server, `{base}` the address of its pages, `{link}`
//! the address that this letter is about.

use super::{Language, Subject};

/// What one letter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) subject: String,
    pub(super) body: String,
}

/// The words for a subject.
pub(super) fn text(subject: &Subject, language: Language, site: &str, base: &str) -> Text {
    let (index, link) = match subject {
        Subject::SignUp { link } => (0, link.as_str()),
        Subject::KnownAlready => (1, ""),
        Subject::Reset { link } => (2, link.as_str()),
        Subject::NewAddress { link } => (3, link.as_str()),
        Subject::AddressOfAnother => (4, ""),
        Subject::AddressChanges => (5, ""),
        Subject::KeyMade => (6, ""),
        Subject::PasskeyAdded => (7, ""),
        Subject::ProviderLinked => (8, ""),
    };
    let (heading, body) = match language {
        Language::English => ENGLISH[index],
        Language::French => FRENCH[index],
        Language::Chinese => CHINESE[index],
    };
    let filled = |text: &str| {
        text.replace("{site}", site).replace("{base}", base).replace("{link}", link).replace('\n', "\r\n")
    };
    Text { subject: filled(heading), body: filled(body) }
}

const ENGLISH: [(&str, &str); 9] = [
    (
        "Your account at {site}",
        "Somebody, most likely you, wants an account at {site} with this address.\n\n\
         To make it, open this link within 24 hours:\n\n{link}\n\n\
         If it was not you, don't open it: without it there is no account, and nothing is kept.\n",
    ),
    (
        "Your account at {site}",
        "Somebody, most likely you, wanted an account at {site} with this address. You have one already.\n\n\
         Sign in here:\n\n{base}/login\n\nIf you forgot the password, set another here:\n\n{base}/reset\n\n\
         If it was not you, you need do nothing.\n",
    ),
    (
        "Another password for {site}",
        "Somebody, most likely you, forgot the password of your account at {site}.\n\n\
         To set another, open this link within an hour. It works once, and signs you out on all devices:\n\n{link}\n\n\
         If it was not you, you need do nothing: the password stays as it is.\n",
    ),
    (
        "Your address at {site}",
        "Somebody, most likely you, wants this to be the address of an account at {site}.\n\n\
         If that is so, open this link within 24 hours:\n\n{link}\n\nIf it was not you, don't open it.\n",
    ),
    (
        "Your address at {site}",
        "Somebody wanted this to be the address of an account at {site}. It belongs to another account already, and \
         stays with that.\n\nIf it was you, sign in to that account here:\n\n{base}/login\n\n\
         If it was not you, you need do nothing.\n",
    ),
    (
        "The address of your account at {site} is about to change",
        "Somebody who is signed in to your account at {site}, most likely you, wants it to have another address. It \
         changes as soon as a letter to that address is answered.\n\n\
         If it was not you, set another password now, which signs everybody out:\n\n{base}/reset\n",
    ),
    (
        "A new API key for your account at {site}",
        "Somebody who is signed in to your account at {site}, most likely you, made an API key. With it, programs ask in \
         your name and spend your balance.\n\n\
         If it was not you, revoke it here:\n\n{base}/account\n\n\
         and set another password, which signs everybody out:\n\n{base}/reset\n",
    ),
    (
        "A passkey for your account at {site}",
        "A passkey was added to your account at {site}. Whoever has it can sign in with it, without the password.\n\n\
         If it was not you, remove it here, and then set another password, which signs everybody out:\n\n\
         {base}/account\n\n{base}/reset\n",
    ),
    (
        "Another way to sign in at {site}",
        "Your account at {site} was linked with an account elsewhere, with which one can sign in from now on.\n\n\
         If it was not you, remove it here, and then set another password, which signs everybody out:\n\n\
         {base}/account\n\n{base}/reset\n",
    ),
];

const FRENCH: [(&str, &str); 9] = [
    (
        "Votre compte sur {site}",
        "Quelqu'un, sans doute vous, veut créer un compte sur {site} avec cette adresse.\n\n\
         Pour le créer, ouvrez ce lien dans les 24 heures :\n\n{link}\n\n\
         Si ce n'était pas vous, ne l'ouvrez pas : sans lui, aucun compte n'est créé et rien n'est conservé.\n",
    ),
    (
        "Votre compte sur {site}",
        "Quelqu'un, sans doute vous, voulait créer un compte sur {site} avec cette adresse. Vous en avez déjà un.\n\n\
         Connectez-vous ici :\n\n{base}/login\n\n\
         Si vous avez oublié le mot de passe, choisissez-en un autre ici :\n\n{base}/reset\n\n\
         Si ce n'était pas vous, vous n'avez rien à faire.\n",
    ),
    (
        "Un nouveau mot de passe pour {site}",
        "Quelqu'un, sans doute vous, a oublié le mot de passe de votre compte sur {site}.\n\n\
         Pour en choisir un autre, ouvrez ce lien dans l'heure. Il ne sert qu'une fois et vous déconnecte de tous vos \
         appareils :\n\n{link}\n\n\
         Si ce n'était pas vous, vous n'avez rien à faire : le mot de passe reste le même.\n",
    ),
    (
        "Votre adresse sur {site}",
        "Quelqu'un, sans doute vous, veut que cette adresse soit celle d'un compte sur {site}.\n\n\
         Si c'est bien le cas, ouvrez ce lien dans les 24 heures :\n\n{link}\n\n\
         Si ce n'était pas vous, ne l'ouvrez pas.\n",
    ),
    (
        "Votre adresse sur {site}",
        "Quelqu'un voulait que cette adresse soit celle d'un compte sur {site}. Elle appartient déjà à un autre compte et \
         y reste.\n\nSi c'était vous, connectez-vous à ce compte ici :\n\n{base}/login\n\n\
         Si ce n'était pas vous, vous n'avez rien à faire.\n",
    ),
    (
        "L'adresse de votre compte sur {site} va changer",
        "Quelqu'un qui est connecté à votre compte sur {site}, sans doute vous, veut lui donner une autre adresse. Elle \
         change dès qu'il est répondu à une lettre envoyée à celle-ci.\n\n\
         Si ce n'était pas vous, choisissez tout de suite un autre mot de passe, ce qui déconnecte tout le monde :\n\n\
         {base}/reset\n",
    ),
    (
        "Une nouvelle clé d'API pour votre compte sur {site}",
        "Quelqu'un qui est connecté à votre compte sur {site}, sans doute vous, a créé une clé d'API. Avec elle, des \
         programmes interrogent les modèles en votre nom et dépensent votre solde.\n\n\
         Si ce n'était pas vous, révoquez-la ici :\n\n{base}/account\n\n\
         et choisissez un autre mot de passe, ce qui déconnecte tout le monde :\n\n{base}/reset\n",
    ),
    (
        "Une clé d'accès pour votre compte sur {site}",
        "Une clé d'accès a été ajoutée à votre compte sur {site}. Elle permet de se connecter sans le mot de passe.\n\n\
         Si ce n'était pas vous, supprimez-la ici, puis choisissez un autre mot de passe, ce qui déconnecte tout le \
         monde :\n\n{base}/account\n\n{base}/reset\n",
    ),
    (
        "Un autre moyen de connexion sur {site}",
        "Votre compte sur {site} a été lié à un compte ailleurs, qui permet désormais de s'y connecter.\n\n\
         Si ce n'était pas vous, supprimez ce lien ici, puis choisissez un autre mot de passe, ce qui déconnecte tout le \
         monde :\n\n{base}/account\n\n{base}/reset\n",
    ),
];

const CHINESE: [(&str, &str); 9] = [
    (
        "您在 {site} 的账户",
        "有人(很可能是您本人)想用此邮箱地址在 {site} 注册账户。\n\n\
         要完成注册,请在 24 小时内打开此链接:\n\n{link}\n\n\
         如果不是您本人操作,请不要打开:不打开就不会有账户,也不会保存任何内容。\n",
    ),
    (
        "您在 {site} 的账户",
        "有人(很可能是您本人)想用此邮箱地址在 {site} 注册账户。您已经有一个账户了。\n\n\
         请在此登录:\n\n{base}/login\n\n如果忘记了密码,请在此设置新密码:\n\n{base}/reset\n\n\
         如果不是您本人操作,无需理会。\n",
    ),
    (
        "{site} 的新密码",
        "有人(很可能是您本人)忘记了您在 {site} 的账户密码。\n\n\
         要设置新密码,请在一小时内打开此链接。链接只能使用一次,并会在所有设备上退出登录:\n\n{link}\n\n\
         如果不是您本人操作,无需理会:密码保持不变。\n",
    ),
    (
        "您在 {site} 的邮箱地址",
        "有人(很可能是您本人)想把此地址设为 {site} 上某个账户的邮箱地址。\n\n\
         如果确实如此,请在 24 小时内打开此链接:\n\n{link}\n\n如果不是您本人操作,请不要打开。\n",
    ),
    (
        "您在 {site} 的邮箱地址",
        "有人想把此地址设为 {site} 上某个账户的邮箱地址。它已属于另一个账户,不会改变。\n\n\
         如果是您本人,请在此登录那个账户:\n\n{base}/login\n\n如果不是您本人操作,无需理会。\n",
    ),
    (
        "您在 {site} 的账户邮箱即将更改",
        "有人(很可能是您本人)登录了您在 {site} 的账户,想更改其邮箱地址。对发往新地址的邮件作出确认后即生效。\n\n\
         如果不是您本人操作,请立即设置新密码,这会让所有设备退出登录:\n\n{base}/reset\n",
    ),
    (
        "您在 {site} 的账户有了新的 API 密钥",
        "有人(很可能是您本人)登录了您在 {site} 的账户,创建了一个 API 密钥。程序可用它以您的名义提问并使用您的余额。\n\n\
         如果不是您本人操作,请在此吊销它:\n\n{base}/account\n\n\
         并设置新密码,这会让所有设备退出登录:\n\n{base}/reset\n",
    ),
    (
        "您在 {site} 的账户新增了通行密钥",
        "您在 {site} 的账户新增了一个通行密钥。持有它的人无需密码即可登录。\n\n\
         如果不是您本人操作,请在此将其删除,然后设置新密码,这会让所有设备退出登录:\n\n{base}/account\n\n\
         {base}/reset\n",
    ),
    (
        "您在 {site} 的账户新增了登录方式",
        "您在 {site} 的账户已与其他网站的账户关联,今后可以用它登录。\n\n\
         如果不是您本人操作,请在此解除关联,然后设置新密码,这会让所有设备退出登录:\n\n{base}/account\n\n\
         {base}/reset\n",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_is_whole_in_every_language() {
        let link = || "https://chat.example/verify#x".to_owned();
        let subjects = [
            Subject::SignUp { link: link() },
            Subject::KnownAlready,
            Subject::Reset { link: link() },
            Subject::NewAddress { link: link() },
            Subject::AddressOfAnother,
            Subject::AddressChanges,
            Subject::KeyMade,
            Subject::PasskeyAdded,
            Subject::ProviderLinked,
        ];
        for language in [Language::English, Language::French, Language::Chinese] {
            for subject in &subjects {
                let Text { subject: heading, body } =
                    text(subject, language, "chat.example", "https://chat.example");
                assert!(
                    heading.contains("chat.example") && !heading.contains(['\r', '\n', '{']),
                    "{heading}"
                );
                assert!(body.contains("chat.example") && !body.contains(['{', '}']), "{body}");
                assert!(body.ends_with("\r\n") && !body.replace("\r\n", "").contains('\n'), "{body}");
                let has_link = body.lines().any(|line| line == link());
                let wants = matches!(
                    subject,
                    Subject::SignUp { .. } | Subject::Reset { .. } | Subject::NewAddress { .. }
                );
                assert_eq!(has_link, wants, "{body}");
            }
        }
    }
}
