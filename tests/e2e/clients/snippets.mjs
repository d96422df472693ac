// What Send your data says to paste, as the console makes it: of each shipper its text, and that of its second half.
//   node snippets.mjs MODULE LISTENER TOKEN TYPE
const [module, url, token, type] = process.argv.slice(2);
const { SHIPPERS } = await import(module);
const to = { url, token, type };
const texts = SHIPPERS.map((shipper) => [shipper.name, [shipper.text(to), shipper.more?.(to)].filter(Boolean)]);
console.log(JSON.stringify(Object.fromEntries(texts)));
