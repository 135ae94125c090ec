package manifest

import "strings"

// Found is how much a sweep found in the system bucket, needed or not.
type Found struct {
	// Uploads and Parts are notes of uploads that are not finished.
	Uploads, Parts int
	// Manifests and Wraps belong to objects.
	Manifests, Wraps int
}

// count counts a note, by what its name begins with. A nil *Found counts nothing.
func (f *Found) count(prefix string) {
	if f == nil {
		return
	}
	switch {
	case strings.HasPrefix(prefix, "uploads"):
		f.Uploads++
	case strings.HasPrefix(prefix, "parts"):
		f.Parts++
	case strings.HasPrefix(prefix, "wrap"):
		f.Wraps++
	default:
		f.Manifests++
	}
}
