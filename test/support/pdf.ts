import { getDocumentProxy } from "unpdf";

/** What whoever copies the text of a PDF gets: the texts of each page in their order. */
export async function pagesOf(pdf: Buffer): Promise<string[]> {
  const document = await getDocumentProxy(new Uint8Array(pdf));
  const pages: string[] = [];
  for (let number = 1; number <= document.numPages; number++) {
    const { items } = await (await document.getPage(number)).getTextContent();
    pages.push(items.map((item) => ("str" in item ? item.str : "")).join(" "));
  }
  await document.cleanup();
  return pages;
}

/** Without what extracting adds and loses: spaces, line breaks, and characters that are never visible. */
export const bare = (text: string) => text.replace(/[\s\p{Default_Ignorable_Code_Point}\p{Bidi_Control}]/gu, "");
