//! Small facts about expressions of templates.

use minijinja::machinery::ast::{BinOpKind, CompareOpKind, Expr};

/// Filters that give no list.
const SCALAR_FILTERS: [&str; 16] = [
    "trim",
    "upper",
    "lower",
    "tojson",
    "length",
    "count",
    "string",
    "int",
    "float",
    "join",
    "replace",
    "title",
    "capitalize",
    "round",
    "abs",
    "indent",
];

/// Whether an expression gives no list or map, or else fails.
pub(super) fn is_scalar(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::Const(_) | Expr::Compare(_) | Expr::Test(_) | Expr::UnaryOp(_) => true,
        Expr::BinOp(binary) => match binary.op {
            // Adding a list to something else than a list fails.
            BinOpKind::Add => is_scalar(&binary.right) || is_scalar(&binary.left),
            BinOpKind::Mul | BinOpKind::ScAnd | BinOpKind::ScOr => {
                is_scalar(&binary.right) && is_scalar(&binary.left)
            }
            _ => true,
        },
        Expr::IfExpr(choice) => {
            is_scalar(&choice.true_expr) && choice.false_expr.as_ref().is_none_or(|other| is_scalar(other))
        }
        Expr::Filter(filter) => SCALAR_FILTERS.contains(&filter.name),
        _ => false,
    }
}

pub(super) fn operator_symbol(op: BinOpKind) -> &'static str {
    match op {
        BinOpKind::Eq => "==",
        BinOpKind::Ne => "!=",
        BinOpKind::Lt => "<",
        BinOpKind::Lte => "<=",
        BinOpKind::Gt => ">",
        BinOpKind::Gte => ">=",
        BinOpKind::ScAnd => "and",
        BinOpKind::ScOr => "or",
        BinOpKind::Add => "+",
        BinOpKind::Sub => "-",
        BinOpKind::Mul => "*",
        BinOpKind::Div => "/",
        BinOpKind::FloorDiv => "//",
        BinOpKind::Rem => "%",
        BinOpKind::Pow => "**",
        BinOpKind::Concat => "~",
        BinOpKind::In => "in",
    }
}

pub(super) fn compare_symbol(op: CompareOpKind) -> &'static str {
    match op {
        CompareOpKind::Eq => "==",
        CompareOpKind::Ne => "!=",
        CompareOpKind::Lt => "<",
        CompareOpKind::Lte => "<=",
        CompareOpKind::Gt => ">",
        CompareOpKind::Gte => ">=",
        CompareOpKind::In => "in",
        CompareOpKind::NotIn => "not in",
    }
}
