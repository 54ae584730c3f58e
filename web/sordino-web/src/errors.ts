/** What went wrong, in words for the person who uses the page. */
export class SordinoError extends Error {
  override name = "SordinoError";
}
