//! Makes a template safe to run, by printing it anew from its syntax tree.
//!
//! minijinja's fuel pays for instructions and for strings, but lists can stand for far more than they cost: `['x'] *
//! 99999999`, a list that holds another one twice and so on, slices of slices, a namespace that contains itself.
//! Formatting, comparing or dropping such a value takes unbounded time, memory or stack. So wherever a template does
//! anything with a value that may be a list, the printed template first passes it through [`GUARD`], which walks it,
//! pays for every item, limits its depth, and turns lazy sequences into lists. What a template cannot build, it cannot
//! misuse: list, tuple and map literals are guarded item by item.
//!
//! The printed template is parsed again and must print to itself, so that both sides understood it alike. Along the way
//! the printer collects the strings that [`super::provenance`] needs.

use std::fmt::Write as _;

use minijinja::Error;
use minijinja::machinery::ast::{
    BinOpKind, CallArg, Expr, Filter, ForLoop, IfExpr, Macro, SetBlock, Slice, Stmt, Test, UnaryOpKind,
    WithBlock,
};
use minijinja::machinery::parse;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};

use super::error::TemplateError;
use super::provenance::Strings;
use super::syntax::{compare_symbol, is_scalar, operator_symbol};

/// The name of the function that guards a value.
pub(super) const GUARD: &str = "__guard";
/// The name of the function that guards what becomes an attribute of a namespace.
pub(super) const GUARD_HELD: &str = "__guard_held";
/// Most parts of one expression. The compiler takes quadratic time in the length of a chain of operators.
const EXPRESSION_PARTS_MAX: usize = 4096;

/// Operands of these are not formatted, compared or copied, or they pay for it themselves.
const CHEAP_FILTERS: [&str; 9] =
    ["length", "count", "first", "last", "default", "d", "list", "tojson", "safe"];
const CHEAP_TESTS: [&str; 16] = [
    "defined",
    "undefined",
    "none",
    "string",
    "number",
    "integer",
    "float",
    "boolean",
    "true",
    "false",
    "mapping",
    "sequence",
    "iterable",
    "callable",
    "odd",
    "even",
];

/// A template that is safe to compile and run, and its strings.
pub(super) struct Guarded {
    pub(super) source: String,
    pub(super) strings: Strings,
}

/// Prints a template with guards.
pub(super) fn guarded(source: &str, syntax: SyntaxConfig) -> Result<Guarded, TemplateError> {
    if source.contains(GUARD) {
        // Covers the longer name too.
        return Err(TemplateError::Syntax { detail: format!("the name {GUARD} is reserved") });
    }
    let print = |source: &str, syntax: SyntaxConfig, guards: bool| {
        let tree = parse(source, "chat", syntax).map_err(|error| syntax_error(&error))?;
        let mut printer = Printer {
            out: String::with_capacity(source.len() * 2),
            guards,
            strings: Strings::default(),
            parts: 0,
        };
        printer.statement(&tree)?;
        Ok::<_, TemplateError>(printer)
    };
    let printed = print(source, syntax, true)?;
    if print(&printed.out, SyntaxConfig::default(), false)?.out != printed.out {
        return Err(TemplateError::Syntax { detail: "the template is ambiguous".to_owned() });
    }
    Ok(Guarded { source: printed.out, strings: printed.strings })
}

pub(super) fn syntax_error(error: &Error) -> TemplateError {
    TemplateError::Syntax { detail: error.to_string().chars().take(1000).collect() }
}

struct Printer {
    out: String,
    guards: bool,
    strings: Strings,
    /// Parts of the expression at hand.
    parts: usize,
}

type Printed = Result<(), TemplateError>;

impl Printer {
    fn text(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) -> Printed {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Stmt<'_>) -> Printed {
        self.parts = 0;
        match statement {
            Stmt::Template(template) => return self.statements(&template.children),
            Stmt::EmitExpr(emit) => {
                self.text("{{ ");
                self.expression(&emit.expr, false)?;
                self.text(" }}");
            }
            Stmt::EmitRaw(raw) => {
                self.text("{{ ");
                self.string(raw.raw, false);
                self.text(" }}");
            }
            Stmt::ForLoop(each) => self.for_loop(each)?,
            Stmt::IfCond(_) => self.condition(statement)?,
            Stmt::WithBlock(with) => self.with_block(with)?,
            Stmt::Set(set) => {
                self.text("{% set ");
                self.target(&set.target)?;
                self.text(" = ");
                self.assigned(&set.target, &set.expr)?;
                self.text(" %}");
            }
            Stmt::SetBlock(set) => self.set_block(set)?,
            Stmt::FilterBlock(block) => {
                self.text("{% filter ");
                self.expression(&block.filter, false)?;
                self.text(" %}");
                self.statements(&block.body)?;
                self.text("{% endfilter %}");
            }
            Stmt::Macro(declared) => {
                let _ = write!(self.out, "{{% macro {}", declared.name);
                self.macro_rest(declared, "{% endmacro %}")?;
            }
            Stmt::CallBlock(block) => {
                self.text("{% call");
                self.parameters(&block.macro_decl)?;
                self.text(" ");
                self.call(&block.call.expr, &block.call.args)?;
                self.text(" %}");
                self.statements(&block.macro_decl.body)?;
                self.text("{% endcall %}");
            }
            Stmt::Continue(_) => self.text("{% continue %}"),
            Stmt::Break(_) => self.text("{% break %}"),
            Stmt::Do(done) => {
                self.text("{% do ");
                self.call(&done.call.expr, &done.call.args)?;
                self.text(" %}");
            }
            Stmt::AutoEscape(_)
            | Stmt::Block(_)
            | Stmt::Import(_)
            | Stmt::FromImport(_)
            | Stmt::Extends(_)
            | Stmt::Include(_) => {
                return Err(TemplateError::Syntax {
                    detail: "block, include, import, extends and autoescape are not supported".to_owned(),
                });
            }
        }
        Ok(())
    }

    fn for_loop(&mut self, each: &ForLoop<'_>) -> Printed {
        self.text("{% for ");
        self.target(&each.target)?;
        self.text(" in ");
        // Taking an item apart copies it.
        if matches!(each.target, Expr::Var(_)) {
            self.operand(&each.iter)?;
        } else {
            self.guard(&each.iter)?;
        }
        if let Some(filter) = &each.filter_expr {
            self.text(" if ");
            self.operand(filter)?;
        }
        self.text(if each.recursive { " recursive %}" } else { " %}" });
        self.statements(&each.body)?;
        if !each.else_body.is_empty() {
            self.text("{% else %}");
            self.statements(&each.else_body)?;
        }
        self.text("{% endfor %}");
        Ok(())
    }

    fn with_block(&mut self, with: &WithBlock<'_>) -> Printed {
        self.text("{% with ");
        for (index, (target, value)) in with.assignments.iter().enumerate() {
            self.text(if index > 0 { ", " } else { "" });
            let plain = matches!(target, Expr::Var(_));
            self.text(if plain { "" } else { "(" });
            self.target(target)?;
            self.text(if plain { "=" } else { ")=" });
            self.assigned(target, value)?;
        }
        self.text(" %}");
        self.statements(&with.body)?;
        self.text("{% endwith %}");
        Ok(())
    }

    fn set_block(&mut self, set: &SetBlock<'_>) -> Printed {
        self.text("{% set ");
        self.target(&set.target)?;
        if let Some(filter) = &set.filter {
            self.text(" | ");
            self.expression(filter, false)?;
        }
        self.text(" %}");
        self.statements(&set.body)?;
        self.text("{% endset %}");
        Ok(())
    }

    /// `if`, with `elif` for a chain of them.
    fn condition(&mut self, statement: &Stmt<'_>) -> Printed {
        let mut statement = statement;
        let mut open = "{% if ";
        let mut conditions = 0;
        while let Stmt::IfCond(condition) = statement {
            conditions += 1;
            self.part(conditions)?;
            self.parts = 0;
            self.text(open);
            self.operand(&condition.expr)?;
            self.text(" %}");
            self.statements(&condition.true_body)?;
            match condition.false_body.as_slice() {
                [next @ Stmt::IfCond(_)] => {
                    open = "{% elif ";
                    statement = next;
                    continue;
                }
                [] => {}
                body => {
                    self.text("{% else %}");
                    self.statements(body)?;
                }
            }
            break;
        }
        self.text("{% endif %}");
        Ok(())
    }

    fn macro_rest(&mut self, declared: &Macro<'_>, end: &str) -> Printed {
        self.parameters(declared)?;
        self.text(" %}");
        self.statements(&declared.body)?;
        self.text(end);
        Ok(())
    }

    fn parameters(&mut self, declared: &Macro<'_>) -> Printed {
        self.text("(");
        let required = declared.args.len().saturating_sub(declared.defaults.len());
        for (index, parameter) in declared.args.iter().enumerate() {
            self.text(if index > 0 { ", " } else { "" });
            self.target(parameter)?;
            if let Some(default) = index.checked_sub(required).and_then(|index| declared.defaults.get(index))
            {
                self.text("=");
                self.operand(default)?;
            }
        }
        self.text(")");
        Ok(())
    }

    /// What is assigned to: names, attributes of namespaces, or several of them.
    fn target(&mut self, target: &Expr<'_>) -> Printed {
        match target {
            Expr::Var(variable) => self.text(variable.id),
            Expr::GetAttr(attribute) => {
                self.target(&attribute.expr)?;
                self.text(".");
                self.text(attribute.name);
            }
            Expr::List(list) => {
                for (index, item) in list.items.iter().enumerate() {
                    self.text(if index > 0 { ", " } else { "" });
                    let nested = matches!(item, Expr::List(_));
                    self.text(if nested { "(" } else { "" });
                    self.target(item)?;
                    self.text(if nested { ")" } else { "" });
                }
                // One name and a comma takes a list of one item apart.
                self.text(if list.items.len() == 1 { "," } else { "" });
            }
            _ => return Err(TemplateError::Syntax { detail: "cannot assign to that".to_owned() }),
        }
        Ok(())
    }

    fn assigned(&mut self, target: &Expr<'_>, value: &Expr<'_>) -> Printed {
        match target {
            Expr::List(_) => self.guard(value),
            Expr::GetAttr(_) if self.guards && !is_scalar(value) => {
                self.text(GUARD_HELD);
                self.text("(");
                self.operand(value)?;
                self.text(")");
                Ok(())
            }
            _ => self.operand(value),
        }
    }

    /// Counts one more part of an expression, or the `count`th of a chain.
    fn part(&mut self, count: usize) -> Printed {
        self.parts += 1;
        if self.parts.max(count) > EXPRESSION_PARTS_MAX {
            return Err(TemplateError::Syntax {
                detail: format!("an expression has more than {EXPRESSION_PARTS_MAX} parts"),
            });
        }
        Ok(())
    }

    /// An expression that binds as tightly as a name.
    fn operand(&mut self, expr: &Expr<'_>) -> Printed {
        self.expression(expr, false)
    }

    /// An expression whose value is walked before it is used, unless it cannot be a list.
    fn guard(&mut self, expr: &Expr<'_>) -> Printed {
        self.guard_sought(expr, false)
    }

    fn guard_unless(&mut self, cheap: bool, expr: &Expr<'_>) -> Printed {
        if cheap { self.operand(expr) } else { self.guard(expr) }
    }

    fn guard_sought(&mut self, expr: &Expr<'_>, sought: bool) -> Printed {
        if !self.guards || is_scalar(expr) {
            return self.expression(expr, sought);
        }
        self.text(GUARD);
        self.text("(");
        self.expression(expr, sought)?;
        self.text(")");
        Ok(())
    }

    /// Any expression, in parentheses where it has operators. `sought` says that a string is looked for with it.
    fn expression(&mut self, expr: &Expr<'_>, sought: bool) -> Printed {
        self.part(0)?;
        match expr {
            Expr::Var(variable) => self.text(variable.id),
            Expr::Const(constant) => self.constant(&constant.value, sought)?,
            Expr::Slice(slice) => self.slice(slice)?,
            Expr::UnaryOp(unary) => {
                self.text(if matches!(unary.op, UnaryOpKind::Not) { "(not " } else { "(-" });
                self.operand(&unary.expr)?;
                self.text(")");
            }
            Expr::BinOp(_) => self.operation(expr)?,
            Expr::Compare(compare) => {
                self.text("(");
                self.guard_sought(&compare.expr, true)?;
                for op in &compare.ops {
                    let _ = write!(self.out, " {} ", compare_symbol(op.op));
                    self.guard_sought(&op.expr, true)?;
                }
                self.text(")");
            }
            Expr::IfExpr(choice) => self.choice(choice)?,
            Expr::Filter(filter) => self.filter(filter)?,
            Expr::Test(test) => self.test(test)?,
            Expr::GetAttr(attribute) => {
                self.base(&attribute.expr)?;
                self.text(".");
                self.text(attribute.name);
            }
            Expr::GetItem(item) => {
                self.base(&item.expr)?;
                self.text("[");
                self.guard(&item.subscript_expr)?;
                self.text("]");
            }
            Expr::Call(call) => self.call(&call.expr, &call.args)?,
            Expr::List(list) => self.items("[", &list.items, "]")?,
            Expr::Tuple(tuple) => {
                let end = if tuple.items.len() == 1 { ",)" } else { ")" };
                self.items("(", &tuple.items, end)?;
            }
            Expr::Map(map) => {
                self.text("{");
                for (index, (key, value)) in map.keys.iter().zip(&map.values).enumerate() {
                    self.text(if index > 0 { ", " } else { "" });
                    self.guard(key)?;
                    self.text(": ");
                    self.guard(value)?;
                }
                self.text("}");
            }
        }
        Ok(())
    }

    fn slice(&mut self, slice: &Slice<'_>) -> Printed {
        self.guard(&slice.expr)?;
        self.text("[");
        self.optional(slice.start.as_ref())?;
        self.text(":");
        self.optional(slice.stop.as_ref())?;
        if slice.step.is_some() {
            self.text(":");
            self.optional(slice.step.as_ref())?;
        }
        self.text("]");
        Ok(())
    }

    fn choice(&mut self, choice: &IfExpr<'_>) -> Printed {
        self.text("(");
        self.operand(&choice.true_expr)?;
        self.text(" if ");
        self.operand(&choice.test_expr)?;
        if let Some(otherwise) = &choice.false_expr {
            self.text(" else ");
            self.operand(otherwise)?;
        }
        self.text(")");
        Ok(())
    }

    fn filter(&mut self, filter: &Filter<'_>) -> Printed {
        if let Some(value) = &filter.expr {
            self.text("(");
            self.guard_unless(CHEAP_FILTERS.contains(&filter.name), value)?;
            self.text("|");
        }
        self.text(filter.name);
        self.arguments(&filter.args, matches!(filter.name, "trim" | "replace" | "split"))?;
        self.text(if filter.expr.is_some() { ")" } else { "" });
        Ok(())
    }

    fn test(&mut self, test: &Test<'_>) -> Printed {
        self.text("(");
        self.guard_unless(CHEAP_TESTS.contains(&test.name), &test.expr)?;
        self.text(" is ");
        self.text(test.name);
        if !test.args.is_empty() {
            self.arguments(&test.args, true)?;
        }
        self.text(")");
        Ok(())
    }

    /// The part before a dot or bracket: numbers need parentheses there.
    fn base(&mut self, expr: &Expr<'_>) -> Printed {
        let constant = matches!(expr, Expr::Const(_));
        self.text(if constant { "(" } else { "" });
        self.operand(expr)?;
        self.text(if constant { ")" } else { "" });
        Ok(())
    }

    fn optional(&mut self, expr: Option<&Expr<'_>>) -> Printed {
        expr.map_or(Ok(()), |expr| self.guard(expr))
    }

    fn items(&mut self, open: &str, items: &[Expr<'_>], close: &str) -> Printed {
        self.text(open);
        for (index, item) in items.iter().enumerate() {
            self.text(if index > 0 { ", " } else { "" });
            self.guard(item)?;
        }
        self.text(close);
        Ok(())
    }

    /// A binary operation. Chains of `+` or `~` that need no guards are printed flat, as they are written.
    fn operation(&mut self, expr: &Expr<'_>) -> Printed {
        let mut chain = Vec::new();
        let mut leftmost = expr;
        while let Expr::BinOp(binary) = leftmost {
            chain.push(binary);
            self.part(chain.len())?;
            let Expr::BinOp(left) = &binary.left else { break };
            let symbol = operator_symbol(binary.op);
            let chained = matches!(symbol, "+" | "~") && operator_symbol(left.op) == symbol;
            if !chained || (self.guards && !is_scalar(&binary.left)) {
                break;
            }
            leftmost = &binary.left;
        }
        self.text("(");
        for (index, binary) in chain.iter().rev().enumerate() {
            if index == 0 {
                self.side(binary.op, &binary.left)?;
            }
            let _ = write!(self.out, " {} ", operator_symbol(binary.op));
            self.side(binary.op, &binary.right)?;
        }
        self.text(")");
        Ok(())
    }

    /// One side of an operation: `and` and `or` only look at whether a value is empty.
    fn side(&mut self, op: BinOpKind, expr: &Expr<'_>) -> Printed {
        let compares = matches!(
            op,
            BinOpKind::Eq
                | BinOpKind::Ne
                | BinOpKind::Lt
                | BinOpKind::Lte
                | BinOpKind::Gt
                | BinOpKind::Gte
                | BinOpKind::In
        );
        match op {
            BinOpKind::ScAnd | BinOpKind::ScOr => self.operand(expr),
            _ => self.guard_sought(expr, compares),
        }
    }

    fn call(&mut self, callee: &Expr<'_>, args: &[CallArg<'_>]) -> Printed {
        self.base(callee)?;
        // Strings are looked for with methods: `content.split('</think>')`.
        self.text(if args.is_empty() { "()" } else { "" });
        self.arguments(args, matches!(callee, Expr::GetAttr(_)))
    }

    fn arguments(&mut self, args: &[CallArg<'_>], sought: bool) -> Printed {
        if args.is_empty() {
            return Ok(());
        }
        self.text("(");
        for (index, arg) in args.iter().enumerate() {
            self.text(if index > 0 { ", " } else { "" });
            match arg {
                CallArg::Pos(value) => self.guard_sought(value, sought)?,
                CallArg::Kwarg(name, value) => {
                    let _ = write!(self.out, "{name}=");
                    self.guard_sought(value, sought)?;
                }
                CallArg::PosSplat(value) => {
                    self.text("*");
                    self.guard(value)?;
                }
                CallArg::KwargSplat(value) => {
                    self.text("**");
                    self.guard(value)?;
                }
            }
        }
        self.text(")");
        Ok(())
    }

    fn constant(&mut self, value: &Value, sought: bool) -> Printed {
        match value.kind() {
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), sought),
            ValueKind::Bool => self.text(if value.is_true() { "true" } else { "false" }),
            ValueKind::None => self.text("none"),
            ValueKind::Number => {
                let _ = write!(self.out, "{value}");
            }
            _ => return Err(TemplateError::Syntax { detail: "unknown kind of constant".to_owned() }),
        }
        Ok(())
    }

    fn string(&mut self, text: &str, sought: bool) {
        if sought {
            self.strings.add_sought(text);
        } else {
            self.strings.add_written(text);
        }
        self.out.push('"');
        for character in text.chars() {
            match character {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                _ => self.out.push(character),
            }
        }
        self.out.push('"');
    }
}
