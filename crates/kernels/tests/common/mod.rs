//! What the kernel tests share: sources of weights, adversarial inputs and the comparison.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test file uses a part")]

use base::Rng;
use half::{bf16, f16};
use kernels::{CodeLayout, CodeRow, CodeWidth, Isa, RowSource, SourceLayout};

/// Every width of codes.
pub const WIDTHS: [CodeWidth; 5] =
    [CodeWidth::Four, CodeWidth::NonlinearFour, CodeWidth::Five, CodeWidth::Six, CodeWidth::Eight];

pub fn isas() -> Vec<Isa> {
    Isa::available()
}

pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Uniform in `-range..range`.
pub fn random(len: usize, range: f32) -> Vec<f32> {
    let mut rng = Rng::from_seed(len as u64 ^ u64::from(range.to_bits()));
    (0..len).map(|_| (2.0 * rng.next_f32() - 1.0) * range).collect()
}

/// Rows of random numbers, of which two of three have one that is far larger than the others.
pub fn with_outliers(rows: usize, cols: usize) -> Vec<f32> {
    let mut x = random(rows * cols, 1.0);
    for row in (0..rows).filter(|row| row % 3 != 1) {
        x[row * cols + row * 37 % cols] = 60.0;
    }
    x
}

/// Inputs that break what is merely nearly right.
pub fn adversarial(len: usize) -> Vec<(&'static str, Vec<f32>)> {
    let some = random(len, 1.0);
    let mut one_large = some.clone();
    one_large[len / 2] = 1e4;
    vec![
        ("random", some.clone()),
        ("zeros", vec![0.0; len]),
        ("equal", vec![1.0; len]),
        ("equal and negative", vec![-1.0; len]),
        ("alternating", (0..len).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect()),
        ("one large", one_large),
        ("large", some.iter().map(|x| x * 1e15).collect()),
        ("small", some.iter().map(|x| x * 1e-15).collect()),
        ("denormal", some.iter().map(|x| x * 1e-39).collect()),
        // In steps of a block whose largest is 127: half a step from a code, so that the low plane is -128 or 127.
        ("rounded furthest", (0..len).map(|i| [127.0, 125.5, -126.5, 126.5, -125.5][i % 5]).collect()),
    ]
}

/// Fails unless each value is within `tolerance * magnitude` (and f32's smallest normal number) of what is expected.
pub fn check_close(what: &str, out: &[f32], expected: &[f64], magnitudes: &[f64], tolerance: f64) {
    assert_eq!(out.len(), expected.len(), "{what}");
    for (i, ((&out, &expected), &magnitude)) in out.iter().zip(expected).zip(magnitudes).enumerate() {
        let allowed = tolerance * magnitude + f64::from(f32::MIN_POSITIVE);
        let error = (f64::from(out) - expected).abs();
        assert!(
            error <= allowed,
            "{what}: [{i}] is {out}, not {expected}: off by {error:e}, allowed {allowed:e}"
        );
    }
}

/// An integer matrix.
#[derive(Debug)]
pub struct CodeMatrix {
    pub layout: CodeLayout,
    pub cols: usize,
    pub rows: Vec<CodeRow>,
}

impl CodeMatrix {
    /// Random codes, and scales that f16 holds exactly.
    pub fn random(
        rows: usize,
        cols: usize,
        width: CodeWidth,
        group: usize,
        zero_point: u8,
        has_min: bool,
    ) -> Self {
        let layout = CodeLayout { width, group, zero_point, has_min };
        let mut rng = Rng::from_seed((rows * 10_000 + cols) as u64 + u64::from(zero_point));
        let mut half = |range: f32| f16::from_f32((rng.next_f32() - 0.3) * range).to_f32();
        let groups = cols.div_ceil(group);
        let scales: Vec<Vec<f32>> = (0..rows).map(|_| (0..groups).map(|_| half(0.1)).collect()).collect();
        let mins: Vec<Vec<f32>> = (0..rows).map(|_| (0..groups).map(|_| half(-0.5)).collect()).collect();
        let every_code = width.codes();
        let code = |rng: &mut Rng| every_code[rng.below(every_code.len())];
        let rows = scales.into_iter().zip(mins).map(|(scales, mins)| {
            let codes = (0..cols).map(|_| code(&mut rng)).collect();
            CodeRow { codes, scales, mins: if has_min { mins } else { Vec::new() } }
        });
        Self { layout, cols, rows: rows.collect() }
    }

    /// All codes become the smallest or the largest that there is.
    pub fn fill_codes(&mut self, largest: bool) {
        let codes = self.layout.width.codes();
        let code = if largest { codes[codes.len() - 1] } else { codes[0] };
        self.rows.iter_mut().for_each(|row| row.codes.fill(code));
    }

    pub fn row_f64(&self, row: usize) -> Vec<f64> {
        let row = &self.rows[row];
        let value = |(col, &code): (usize, &u8)| {
            let group = col / self.layout.group;
            let min = row.mins.get(group).map_or(0.0, |&min| f64::from(min));
            (f64::from(code) - f64::from(self.layout.zero_point)) * f64::from(row.scales[group]) + min
        };
        row.codes.iter().enumerate().map(value).collect()
    }

    /// The magnitudes of what is added up for a row: scaled dot products of groups, and minima times sums.
    pub fn row_magnitude(&self, row: usize, x: &[f64]) -> f64 {
        let row = &self.rows[row];
        let zero_point = f64::from(self.layout.zero_point);
        let groups = row.codes.chunks(self.layout.group).zip(x.chunks(self.layout.group));
        let of = |(group, (codes, x)): (usize, (&[u8], &[f64]))| {
            let dot: f64 = codes.iter().zip(x).map(|(&code, x)| (f64::from(code) - zero_point) * x).sum();
            let sum: f64 = x.iter().sum();
            let min = row.mins.get(group).map_or(0.0, |&min| f64::from(min));
            (dot * f64::from(row.scales[group])).abs() + (sum * min).abs()
        };
        groups.enumerate().map(of).sum()
    }
}

impl RowSource for CodeMatrix {
    fn rows(&self) -> usize {
        self.rows.len()
    }
    fn cols(&self) -> usize {
        self.cols
    }
    fn layout(&self) -> SourceLayout {
        SourceLayout::Codes(self.layout)
    }
    fn codes(&self, row: usize, out: &mut CodeRow) {
        out.clone_from(&self.rows[row]);
    }
    fn floats(&self, _: usize, _: &mut [f32]) {
        panic!("an integer matrix has no floats");
    }
}

/// A float matrix.
#[derive(Debug)]
pub struct FloatMatrix {
    pub layout: SourceLayout,
    pub cols: usize,
    pub values: Vec<f32>,
    rows: usize,
}

impl FloatMatrix {
    /// Random numbers that the layout holds exactly.
    pub fn random(rows: usize, cols: usize, layout: SourceLayout) -> Self {
        Self::of(rows, cols, layout, &random(rows * cols, 1.5))
    }

    /// The finite numbers of the layout that are nearest to some.
    pub fn of(rows: usize, cols: usize, layout: SourceLayout, values: &[f32]) -> Self {
        let narrow = |&x: &f32| match layout {
            SourceLayout::F16 => f16::from_f32(x.clamp(-65_504.0, 65_504.0)).to_f32(),
            SourceLayout::Bf16 => bf16::from_f32(x).to_f32(),
            _ => x,
        };
        Self { layout, cols, values: values.iter().map(narrow).collect(), rows }
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.cols..][..self.cols]
    }

    /// The products with rows of inputs in f64, `[n, rows]`, and the magnitudes of what was added up for them.
    pub fn products(&self, x: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let (mut sums, mut magnitudes) = (Vec::new(), Vec::new());
        for x in x.chunks(self.cols) {
            for row in 0..self.rows {
                let products = self.row(row).iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x));
                sums.push(products.clone().sum());
                magnitudes.push(products.map(f64::abs).sum());
            }
        }
        (sums, magnitudes)
    }
}

impl RowSource for FloatMatrix {
    fn rows(&self) -> usize {
        self.rows
    }
    fn cols(&self) -> usize {
        self.cols
    }
    fn layout(&self) -> SourceLayout {
        self.layout
    }
    fn codes(&self, _: usize, _: &mut CodeRow) {
        panic!("a float matrix has no codes");
    }
    fn floats(&self, row: usize, out: &mut [f32]) {
        out.copy_from_slice(self.row(row));
    }
}
