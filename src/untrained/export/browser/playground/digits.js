// The digits that the page holds, in the parts that `load_data("digits")` has.

// {train, validation, test}, each {images, labels}: images are normalised, 64 floats each, as Python's batches are.
function readDigits({ mean, std, parts, levels, packed }) {
  const wrong = () => {
    throw new Error("The digits of this page are damaged.");
  };
  const all = inflate(packed, new Uint8Array(0), 1e6, wrong);
  const [shift, slope] = [Math.fround(255 * Math.fround(mean)), Math.fround(255 * Math.fround(std))];
  const values = Float32Array.from(levels, (level) => Math.fround(level - shift) / slope);
  let at = 0;
  const take = (count) => all.subarray(at, (at += count));
  const read = parts.map(([part, count]) => {
    const images = Float32Array.from(take(64 * count), (level) => values[level]);
    return [part, { images, labels: take(count) }];
  });
  return at === all.length ? Object.fromEntries(read) : wrong();
}
