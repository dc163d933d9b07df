/**
 * The packages of `@fontsource-variable` with the letters of the PDF. A letter is taken from the first that has it. Of
 * ideographs, Chinese, Japanese and Korean have forms of their own: the script beside them decides (`orderFor`).
 */
export const packages = [
  ...["noto-sans", "noto-sans-arabic", "noto-sans-hebrew", "noto-sans-devanagari", "noto-sans-thai"],
  ...["noto-sans-bengali", "noto-sans-gurmukhi", "noto-sans-gujarati", "noto-sans-tamil", "noto-sans-telugu"],
  ...["noto-sans-kannada", "noto-sans-malayalam", "noto-sans-sinhala", "noto-sans-khmer", "noto-sans-lao"],
  ...["noto-sans-myanmar", "noto-sans-georgian", "noto-sans-armenian", "noto-sans-ethiopic"],
  ...["noto-sans-sc", "noto-sans-jp", "noto-sans-kr", "noto-emoji", "noto-sans-symbols"],
];
