/** The mark: a sperm whale. The same drawing is in public/favicon.svg. */
export function Whale({ size }: { size: number }) {
  return (
    <svg viewBox="0 0 64 64" width={size} height={size} className="whale" aria-hidden="true">
      <path d="M3 25.5C3 20 6.5 17 12 17h18c9.5 0 15.5 4.5 19.5 10.5 2-2 2.900-4.600 2.600-7.300-4.400-.2-7.600-2.800-8.200-7 4.100-.9 7.700.4 9.800 3.400 2.100-3 5.700-4.300 9.800-3.400-.6 4.200-3.400 6.700-7.300 7C57.5 34 49 47.5 33 49.300c-2.600.3-4.900.2-7-.1-.7-2.800-2-5-4.5-6.200H10c-4.5 0-7-2.5-7-6.5z" />
      <path d="M9.5 45.5h11c1.5.9 2.300 1.900 2.800 3.200-1.800.9-3.900 1.300-6.300 1.300-4.300 0-7.200-1.5-7.5-4.5z" />
      <circle className="whale-eye" cx="26.5" cy="36.5" r="2" />
    </svg>
  );
}
