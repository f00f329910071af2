// What the mock server answers: a bit of everything that a model may write.

export const thought =
  "The user wants an overview. First I should **list** what there is, then show code.\n\n" +
  "Let me check: $2 + 2 = 4$, so the sum is right. Wait, is that so? Yes.\n\n".repeat(3);

export const rich = String.raw`# An overview

Here is a paragraph with **bold**, *italic*, ${"`inline code`"} and a [link](https://example.com/page). It costs $5 or $10, not \$20.

## Code

${"```python"}
def is_palindrome(word: str) -> bool:
    """Tell whether a word reads the same both ways."""
    letters = [c.lower() for c in word if c.isalnum()]
    return letters == letters[::-1]  # O(n) in time and space
${"```"}

${"```rust"}
fn main() {
    let total: u64 = (1..=100).filter(|n| n % 3 == 0).sum();
    println!("{total}");
}
${"```"}

## Formulas

Euler found that \( e^{i\pi} + 1 = 0 \), and the quadratic formula is

\[
x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}.
\]

With dollars: $\sum_{k=1}^{n} k = \frac{n(n+1)}{2}$, and

$$\int_{-\infty}^{\infty} e^{-x^2}\,dx = \sqrt{\pi}$$

## A table

| Whale | Depth | Length | Note |
|:------|------:|-------:|:-----|
| Sperm whale | 2,250 m | 16 m | the deepest diver with teeth |
| Cuvier's beaked whale | 2,992 m | 7 m | holds the record |
| Blue whale | 500 m | 30 m | the largest animal that ever lived |

> A quotation,
> over two lines.

1. First
2. Second
   - nested
   - nested again
3. Third

- [x] done
- [ ] not done

![A remote picture](https://example.com/whale.png) and <script>alert(1)</script> as text.
`;
