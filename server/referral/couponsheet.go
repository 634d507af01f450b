package referral

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/server/qr"
)

// CouponSheet is what is printed on coupons. Texts are printed as they are; what is empty is left out.
type CouponSheet struct {
	// Language of the fixed words: "en", which is the default, or "zh".
	Language string
	// Study is the heading of each coupon.
	Study string
	// Text tells the holder what to do, where and when.
	Text string
	// Link is put before the code in the QR code: an address, or nothing.
	Link string
	// Coupons are printed in this order.
	Coupons []SheetCoupon
}

// SheetCoupon is one coupon of a sheet.
type SheetCoupon struct {
	Code string
	// Expires is its last day, yyyy-mm-dd; empty: it does not expire.
	Expires string
}

// couponStyle lays ten coupons out on a page of A4.
const couponStyle = `<style>
@page{size:A4;margin:12mm}
body{font-family:"Noto Sans","Noto Sans CJK SC","Source Han Sans SC","Microsoft YaHei","PingFang SC",sans-serif;font-size:9.5pt;color:#000;margin:0}
main{display:grid;grid-template-columns:1fr 1fr}
section{box-sizing:border-box;height:53mm;padding:4mm;border:.3mm dashed #777;display:flex;gap:4mm;break-inside:avoid;overflow:hidden}
svg{width:32mm;height:32mm;flex:none;align-self:center}
div{min-width:0;display:flex;flex-direction:column;gap:1.2mm}
h2{font-size:11pt;margin:0}
p{margin:0}
@media screen and (max-width:700px){main{grid-template-columns:1fr}section{height:auto;min-height:40mm}}
b{font-family:"DejaVu Sans Mono","Noto Sans Mono",Consolas,monospace;font-size:17pt;letter-spacing:.06em;white-space:nowrap}
</style>
`

// WriteCouponSheet writes coupons to be printed and cut, ten to a page, as one HTML file that needs nothing else. Every code
// must be one that MakeCoupon makes.
func WriteCouponSheet(w io.Writer, sheet CouponSheet) error {
	m := &markup{w: bufio.NewWriterSize(w, 1<<16)}
	words := wordsIn(sheet.Language)
	m.text("<!DOCTYPE html>\n<html lang=\"", words.pick("en", "zh"), "\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>")
	m.escaped(firstText(sheet.Study, words.pick("Coupons", "推荐券")))
	m.text("</title>\n", couponStyle, "<main>\n")
	for _, coupon := range sheet.Coupons {
		c, err := ParseCoupon(coupon.Code)
		if err != nil {
			return err
		}
		code, err := MakeCoupon(c)
		if err != nil {
			return err
		}
		q, err := qr.Encode(sheet.Link + code)
		if err != nil {
			return err
		}
		m.text("<section>")
		m.qr(q)
		m.text("<div><h2>")
		m.escaped(firstText(sheet.Study, words.pick("Coupon", "推荐券")))
		m.text("</h2>")
		if sheet.Text != "" {
			m.text("<p>")
			m.escaped(sheet.Text)
			m.text("</p>")
		}
		m.text("<b>", code, "</b>")
		if coupon.Expires != "" {
			m.text("<p>", words.pick("Valid until ", "有效期至 "))
			m.escaped(coupon.Expires)
			m.text("</p>")
		}
		m.text("</div></section>\n")
	}
	m.text("</main>\n</html>\n")
	if err := m.finish(); err != nil {
		return fmt.Errorf("write the coupons: %w", err)
	}
	return nil
}

// qr draws a code and the margin of four modules that readers need.
func (m *markup) qr(c *qr.Code) {
	const margin = 4
	side := strconv.Itoa(c.Size + 2*margin)
	m.text(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="-4 -4 `, side, ` `, side, `" shape-rendering="crispEdges">`,
		`<path fill="#fff" d="M-4 -4h`, side, `v`, side, `h-`, side, `z"/><path stroke="#000" d="`, qrPath(c), `"/></svg>`)
}

// qrPath is the dark modules as the d of an SVG path, a row's run as one stroke of width 1.
func qrPath(c *qr.Code) string {
	var b strings.Builder
	for y := range c.Size {
		for x := 0; x < c.Size; x++ {
			n := 0
			for c.Dark(x+n, y) {
				n++
			}
			if n > 0 {
				b.WriteString("M" + px(float64(x)) + " " + px(float64(y)+0.5) + "h" + px(float64(n)))
				x += n
			}
		}
	}
	return b.String()
}

func firstText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
