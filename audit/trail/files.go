package trail

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/audit"
)

func parseHash(text string) (h audit.Hash, err error) {
	if len(text) != 2*len(h) {
		return h, ErrMalformed
	}
	_, err = hex.Decode(h[:], []byte(text))
	return h, err
}

// input is a file of lines.
type input struct {
	name  string
	chain string
	seq   uint64
	time  time.Time
}

// Verify verifies files: all of one chain, or of several, in any order. The error is one of
// reading, or of the key service; what is wrong with the lines is in the report.
func Verify(names []string, o Options) (*Report, error) {
	v := &verifier{o: o, chains: make(map[string]*chainState), keys: make(map[string]*verifiedKey)}
	v.report.Authentic = o.Open != nil || len(o.Trust) > 0
	files, err := inOrder(names)
	if err != nil {
		return nil, err
	}
	v.knownHeads()
	for i, f := range files {
		v.file = f.name
		err := eachLine(f.name, func(number int, text []byte, whole bool) error {
			v.number = number
			v.text(text, whole, i == len(files)-1 || files[i+1].chain != f.chain)
			return v.fail
		})
		if err != nil {
			return nil, err
		}
	}
	v.file, v.number = "end", 0
	v.end()
	return &v.report, v.fail
}

// knownHeads reads the heads that were kept elsewhere.
func (v *verifier) knownHeads() {
	v.file = "kept head"
	var key *verifiedKey
	for _, text := range v.o.Heads {
		l, err := Parse(text)
		switch {
		case err != nil:
			v.note("%v", err)
		case l.Kind == "signer":
			key = v.key(l)
		case l.Kind != "head":
		case key == nil || !validHead(l, key.public):
			v.note("a head that was kept elsewhere is not valid")
		default:
			v.heads = append(v.heads, l)
		}
	}
}

// text verifies one line as it stands in a file.
func (v *verifier) text(text []byte, whole, last bool) {
	l, err := Parse(text)
	switch {
	case err == nil:
		v.add(l)
	case !whole && last:
		v.note("the last line has no end (%d bytes): the process was killed while it wrote, or writes now", len(text))
	default:
		v.find(Changed, nil, span{}, "%v", err)
		for _, c := range v.chains {
			c.broken++
		}
	}
}

// end says what can be said once all lines are read.
func (v *verifier) end() {
	for _, c := range v.order {
		if !c.stopped {
			v.note("the chain %s does not end with a line that says so: its process runs, or was killed", c.id)
		}
		vouched, last := max(c.signed, c.coded), c.next-1
		switch {
		case v.keyless(c) && c.loose > 0:
			at := c.last
			v.file, v.number = at.file, at.number
			v.find(Unsigned, at.line, span{}, "nothing vouches for the %d lines from line %d on: their process has named no key", c.loose, last-c.loose+1)
			v.file, v.number = "end", 0
		case vouched < last:
			v.note("nothing vouches for the lines of chain %s after line %d: no head was signed after it", c.id, vouched)
		}
		for _, h := range v.heads {
			if h.Chain == c.id && h.Seq >= c.next {
				v.find(CutOff, h, span{}, "the log ends with line %d, and a head that was kept elsewhere has signed lines up to %d", c.next-1, h.Seq)
			}
		}
	}
	for i, c := range v.order {
		for _, p := range c.after {
			v.predecessor(p, i == 0)
		}
	}
	for _, h := range v.heads {
		if v.chains[h.Chain] == nil {
			v.find(CutOff, h, span{}, "a head that was kept elsewhere is of chain %s, of which there is no line", h.Chain)
		}
	}
	v.report.Findings = slices.DeleteFunc(v.report.Findings, func(f Finding) bool { return f.lift })
	if v.report.Signed == 0 {
		v.report.Authentic = false
	}
}

// predecessor looks whether the chain is there that a line names as the one before its own.
func (v *verifier) predecessor(p place, first bool) {
	l, before := p.line, v.chains[p.line.AfterChain]
	v.file, v.number = p.file, p.number
	switch {
	case before != nil && before.next <= l.After:
		v.find(CutOff, l, span{}, "the chain %s ends with line %d, and had line %d when this process began", l.AfterChain, before.next-1, l.After)
	case before == nil && first:
		v.note("the chain %s, of %d lines or more, came before: it is in files that were not given, or are no longer kept", l.AfterChain, l.After)
	case before == nil:
		v.find(Removed, l, span{}, "the chain %s, of %d lines or more, is missing: this one began after it", l.AfterChain, l.After)
	}
	v.file, v.number = "end", 0
}

// inOrder returns files as they were written: by chain, and in a chain by number.
func inOrder(names []string) ([]input, error) {
	files := make([]input, 0, len(names))
	begins := make(map[string]time.Time)
	for _, name := range names {
		f := input{name: name}
		err := eachLine(name, func(_ int, text []byte, _ bool) error {
			l, err := Parse(text)
			if err != nil {
				return nil //nolint:nilerr // found later
			}
			f.chain, f.seq, f.time = l.Chain, l.Seq, l.Time
			return io.EOF
		})
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if first, ok := begins[f.chain]; !ok || f.time.Before(first) {
			begins[f.chain] = f.time
		}
		files = append(files, f)
	}
	slices.SortStableFunc(files, func(a, b input) int {
		return cmp.Or(begins[a.chain].Compare(begins[b.chain]), cmp.Compare(a.chain, b.chain), cmp.Compare(a.seq, b.seq))
	})
	return files, nil
}

// eachLine calls do for every line of a file, without its end; whole says whether it has one.
// text is valid during the call. Of a line that is too long it gives the beginning.
func eachLine(name string, do func(number int, text []byte, whole bool) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, audit.MaxLine+2)
	for number := 1; ; number++ {
		text, err := r.ReadSlice('\n')
		whole := err == nil
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			kept := slices.Clone(text)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			text, whole = kept, err == nil
		case whole:
			text = text[:len(text)-1]
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(text) > 0 || whole {
			if err := do(number, text, whole); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}
