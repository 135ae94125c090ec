package sse

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

// surveyOf surveys enc and returns the parts, with the plaintext.
func surveyOf(key *ObjectKey, known []Part, enc []byte) ([]Part, []byte, int, error) {
	var plain, packages bytes.Buffer
	begun := 0
	s := Survey{Key: key, Known: known, Begin: func() (io.Writer, io.Writer) { begun++; return &plain, &packages }}
	found, err := s.Run(bytes.NewReader(enc))
	if err == nil && !bytes.Equal(packages.Bytes(), enc) {
		err = errors.New("the packages are not the object's")
	}
	return found, plain.Bytes(), begun, err
}

func samePart(a, b Part) bool {
	return a.Number == b.Number && a.PlainSize == b.PlainSize && (a.PlainSize == 0 || a.Nonce == b.Nonce)
}

func TestSurveyFindsThePartsAgain(t *testing.T) {
	t.Parallel()
	key := NewObjectKey()
	for _, sizes := range [][]int64{{1}, {PackageSize}, {PackageSize + 1, 2 * PackageSize, 1, 7}, {5, 0, 9, 0}, {0}} {
		p, plain, enc := oddParts(t, &key, sizes)
		bare := slices.Clone(p.List())
		for i := range bare {
			bare[i].Nonce = StreamNonce{}
		}
		found, got, begun, err := surveyOf(&key, bare, enc)
		if err != nil || !bytes.Equal(got, plain) || begun != len(sizes) || !slices.EqualFunc(found, p.List(), samePart) {
			t.Errorf("%v, known: %v, %d begun, %v", sizes, found, begun, err)
		}
		full := slices.DeleteFunc(slices.Clone(p.List()), func(p Part) bool { return p.PlainSize == 0 })
		found, got, _, err = surveyOf(&key, nil, enc)
		if err != nil || !bytes.Equal(got, plain) || !slices.EqualFunc(found, full, samePart) {
			t.Errorf("%v, not known: %v, %v", sizes, found, err)
		}
	}
}

func TestSurveyRefusesWhatIsNoPart(t *testing.T) {
	t.Parallel()
	key, other := NewObjectKey(), NewObjectKey()
	p, _, enc := oddParts(t, &key, []int64{PackageSize + 5, PackageSize + 5, 9})
	_, _, foreign := oddParts(t, &other, []int64{PackageSize + 5, PackageSize + 5, 9})
	n := int(EncSize(PackageSize + 5))
	one, two, three := enc[:n], enc[n:2*n], enc[2*n:]
	_, _, again := oddParts(t, &key, []int64{PackageSize + 5})
	flip := func(i int) []byte { b := bytes.Clone(enc); b[i] ^= 1; return b }
	for name, forged := range map[string][]byte{
		"flipped data": flip(50), "flipped nonce": flip(5), "flipped second nonce": flip(EncPackageSize + 6), "flipped tag": flip(len(enc) - 1),
		"flipped length": flip(2), "flipped cipher": flip(1), "cut": enc[:len(enc)-1], "cut at a package": enc[:n+EncPackageSize],
		"parts exchanged": slices.Concat(two, one, three), "of another object": slices.Concat(one, foreign[n:2*n], three),
		"packages of two uploads": slices.Concat(one[:EncPackageSize], again[EncPackageSize:], two, three),
		"final flag":              func() []byte { b := bytes.Clone(enc); b[4] |= finalFlag; return b }(),
	} {
		for _, known := range [][]Part{nil, p.List()} {
			if found, _, _, err := surveyOf(&key, known, forged); !errors.Is(err, ErrTampered) && !errors.Is(err, ErrTruncated) {
				t.Errorf("%s, known %v: %v, %v", name, known != nil, found, err)
			}
		}
	}
	for name, forged := range map[string][]byte{"dropped": slices.Concat(one, two), "appended": slices.Concat(enc, three)} {
		if found, _, _, err := surveyOf(&key, p.List(), forged); !errors.Is(err, ErrTampered) && !errors.Is(err, ErrTruncated) {
			t.Errorf("a part %s: %v, %v", name, found, err)
		}
	}
	broken := errors.New("no more")
	s := Survey{Key: &key, Begin: func() (io.Writer, io.Writer) { return io.Discard, io.Discard }}
	if _, err := s.Run(io.MultiReader(bytes.NewReader(enc[:100]), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("a source that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
