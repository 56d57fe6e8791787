//! rustc: generics, traits, iterators, closures, collections, formatting; enough that optimisation has work.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(i64),
    Operator(char),
    Open,
    Close,
}

#[derive(Debug)]
enum ParseError {
    Character(char),
    End,
    Unbalanced,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(c) => write!(f, "unexpected {c:?}"),
            Self::End => f.write_str("unexpected end"),
            Self::Unbalanced => f.write_str("unbalanced"),
        }
    }
}

fn tokens(text: &str) -> Result<VecDeque<Token>, ParseError> {
    let mut out = VecDeque::new();
    let mut rest = text.chars().peekable();
    while let Some(&c) = rest.peek() {
        match c {
            ' ' => {
                rest.next();
            }
            '0'..='9' => {
                let mut value = 0;
                while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
                    value = value * 10 + i64::from(digit);
                    rest.next();
                }
                out.push_back(Token::Number(value));
            }
            '+' | '-' | '*' | '/' => {
                out.push_back(Token::Operator(c));
                rest.next();
            }
            '(' => {
                out.push_back(Token::Open);
                rest.next();
            }
            ')' => {
                out.push_back(Token::Close);
                rest.next();
            }
            other => return Err(ParseError::Character(other)),
        }
    }
    Ok(out)
}

trait Visit<T> {
    fn number(&mut self, value: i64) -> T;
    fn binary(&mut self, operator: char, left: T, right: T) -> T;
}

fn factor<T, V: Visit<T>>(t: &mut VecDeque<Token>, v: &mut V) -> Result<T, ParseError> {
    match t.pop_front().ok_or(ParseError::End)? {
        Token::Number(value) => Ok(v.number(value)),
        Token::Open => {
            let inner = sum(t, v)?;
            match t.pop_front() {
                Some(Token::Close) => Ok(inner),
                _ => Err(ParseError::Unbalanced),
            }
        }
        Token::Operator(c) => Err(ParseError::Character(c)),
        Token::Close => Err(ParseError::Unbalanced),
    }
}

fn level<T, V: Visit<T>>(
    t: &mut VecDeque<Token>,
    v: &mut V,
    operators: &[char],
    next: fn(&mut VecDeque<Token>, &mut V) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    let mut left = next(t, v)?;
    while let Some(Token::Operator(c)) = t.front().cloned() {
        if !operators.contains(&c) {
            break;
        }
        t.pop_front();
        let right = next(t, v)?;
        left = v.binary(c, left, right);
    }
    Ok(left)
}

fn product<T, V: Visit<T>>(t: &mut VecDeque<Token>, v: &mut V) -> Result<T, ParseError> {
    level(t, v, &['*', '/'], factor)
}

fn sum<T, V: Visit<T>>(t: &mut VecDeque<Token>, v: &mut V) -> Result<T, ParseError> {
    level(t, v, &['+', '-'], product)
}

struct Evaluate;
impl Visit<i64> for Evaluate {
    fn number(&mut self, value: i64) -> i64 {
        value
    }
    fn binary(&mut self, operator: char, left: i64, right: i64) -> i64 {
        match operator {
            '+' => left.wrapping_add(right),
            '-' => left.wrapping_sub(right),
            '*' => left.wrapping_mul(right),
            _ => left.checked_div(right).unwrap_or(0),
        }
    }
}

struct Print(HashMap<char, usize>);
impl Visit<String> for Print {
    fn number(&mut self, value: i64) -> String {
        value.to_string()
    }
    fn binary(&mut self, operator: char, left: String, right: String) -> String {
        *self.0.entry(operator).or_default() += 1;
        format!("({operator} {left} {right})")
    }
}

fn main() {
    let mut histogram: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let mut print = Print(HashMap::new());
    for i in 0..2000i64 {
        let text = format!("({i} + {}) * {} - {} / ({} + 1)", i * 7 % 13, i % 5, i * i, i % 3);
        let value = sum(&mut tokens(&text).unwrap(), &mut Evaluate).unwrap();
        let shown = sum(&mut tokens(&text).unwrap(), &mut print).unwrap();
        histogram.entry(value.rem_euclid(7)).or_default().push(shown);
    }
    for (key, values) in &histogram {
        let longest = values.iter().max_by_key(|text| text.len()).unwrap();
        println!("{key} {} {longest}", values.len());
    }
    let mut counts: Vec<_> = print.0.into_iter().collect();
    counts.sort_unstable();
    println!("{counts:?}");
    match sum(&mut tokens("(1 + 2").unwrap(), &mut Evaluate) {
        Ok(value) => println!("{value}"),
        Err(error) => println!("{error}"),
    }
}
