package usage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// maxAge is how old a scan may be that something is destroyed on.
const maxAge = 7 * 24 * time.Hour

// lateFor is how long a late write may take to show in listings after it was noted. It is
// longer than clocks differ.
const lateFor = 10 * time.Minute

// Verdict says whether a version of a KMS key, or a whole one, is used.
type Verdict struct {
	// Scan is what was judged by; nil if none is remembered.
	Scan *Scan
	// Rows are what lies under it, by bucket and mode, and System the proxies' own objects that do.
	Rows   []Row
	System int64
	// Missing says what the scan does not cover, "" if it covers everything since; Remedy what is to be done about that.
	Missing, Remedy string
}

// Objects and uploads that the scan counted.
func (v *Verdict) Objects() (objects, uploads, bytes int64) {
	for _, row := range v.Rows {
		objects, uploads, bytes = objects+row.Objects, uploads+row.Uploads, bytes+row.Bytes
	}
	return objects, uploads, bytes
}

// Lost is how many things are known to be lost with it.
func (v *Verdict) Lost() int64 {
	objects, uploads, _ := v.Objects()
	return objects + uploads + v.System
}

// Free says that nothing lies under it, and that this is known.
func (v *Verdict) Free() bool { return v.Missing == "" && v.Lost() == 0 }

// String lists what lies under it.
func (v *Verdict) String() string {
	if v.Lost() == 0 {
		return "nothing that the scan counted"
	}
	objects, uploads, bytes := v.Objects()
	var all []string
	if objects > 0 {
		all = append(all, fmt.Sprintf("%d objects with %d stored bytes", objects, bytes))
	}
	if uploads > 0 {
		all = append(all, fmt.Sprintf("%d uploads under way", uploads))
	}
	if v.System > 0 {
		all = append(all, fmt.Sprintf("%d of the proxy's own objects", v.System))
	}
	text := strings.Join(all, ", ")
	if by := v.byBucket(); by != "" {
		text += " (" + by + ")"
	}
	return text
}

// maxBuckets bounds the buckets that a text names.
const maxBuckets = 10

// byBucket lists the buckets and modes with most first.
func (v *Verdict) byBucket() string {
	type place struct{ bucket, mode string }
	counts := make(map[place]int64)
	var places []place
	for _, row := range v.Rows {
		at := place{row.Bucket, row.Mode}
		if counts[at] == 0 {
			places = append(places, at)
		}
		counts[at] += row.Objects + row.Uploads
	}
	slices.SortStableFunc(places, func(a, b place) int { return int(counts[b] - counts[a]) })
	var named []string
	for _, at := range places[:min(len(places), maxBuckets)] {
		named = append(named, fmt.Sprintf("%s %s: %d", at.bucket, at.mode, counts[at]))
	}
	if more := len(places) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(named, "; ")
}

const scanAgain = "bucketseal key usage --scan"

// judge is what both judgements have in common.
func judge(scan *Scan, key string, version uint32, now time.Time) *Verdict {
	v := &Verdict{Scan: scan}
	if scan == nil {
		v.Missing, v.Remedy = ErrNoScan.Error(), scanAgain
		return v
	}
	v.Rows, v.System = scan.Of(key, version), scan.systemOf(key, version)
	switch age := now.Sub(scan.Began); {
	case scan.UnknownCount > 0:
		v.Missing = fmt.Sprintf("the records of %d objects cannot be read, which may lie under any key", scan.UnknownCount)
		v.Remedy = scanAgain + ", which names them"
	case age > maxAge, age < -recent:
		v.Missing, v.Remedy = fmt.Sprintf("the last scan began %s, which is too long ago", scan.Began.UTC().Format(time.RFC3339)), scanAgain
	}
	return v
}

// OfVersion judges a version of a KMS key. scan is nil if there is none. New objects come under
// the newest version alone. So a scan covers an older one if it began when every server knew
// of a newer one, and if no write that had begun before ended since. Nothing is sealed under an older
// version then, unless another key has the name now, or an older state of it: that, the scan did not
// count. Whatever was opened with the
// version since, or asked for, the scan did not count: MinIO lists nothing below a key that exists.
func OfVersion(scan *Scan, shared *Shared, key string, version uint32, now time.Time) *Verdict {
	v := judge(scan, key, version, now)
	if v.Missing != "" {
		return v
	}
	late, use := shared.Late[key][version], shared.Uses[key][version]
	switch opened := later(use.Decrypt, later(use.Wanted, shared.Beyond.Wanted)); {
	case version >= scan.Covered[key]:
		v.Missing = fmt.Sprintf("when the last scan began, at %s, version %d was not yet known to be replaced by a newer one everywhere", scan.Began.UTC().Format(time.RFC3339), version)
		v.Remedy = scanAgain
	case use.Generate.After(scan.Began): // it is the minute that was begun
		v.Missing = fmt.Sprintf("something was sealed under version %d at %s, which the last scan, from %s, did not count", version, use.Generate.UTC().Format("15:04 MST on 2006-01-02"), scan.Began.UTC().Format(time.RFC3339))
		v.Remedy = scanAgain
	case !late.Equal(scan.Late[key][version]), late.Add(lateFor).After(scan.Began):
		v.Missing = fmt.Sprintf("a write under version %d ended at %s, about or after when the last scan began", version, late.UTC().Format(time.RFC3339))
		v.Remedy = fmt.Sprintf("%s, after %s", scanAgain, late.Add(lateFor).UTC().Format(time.RFC3339))
	case opened.After(scan.Began): // it is the minute that was begun
		v.Missing = fmt.Sprintf("something under version %d was opened or asked for at %s, which the last scan, from %s, did not count", version, opened.UTC().Format("15:04 MST on 2006-01-02"), scan.Began.UTC().Format(time.RFC3339))
		v.Remedy = scanAgain + "; if that counts nothing, objects below keys that exist themselves may be it (docs/keys.md)"
	}
	return v
}

// OfVersionAmong is OfVersion where the versions are known that the KMS key has now: what a scan
// covers, it covers of the key that it saw, and not of another one that has the name now.
func OfVersionAmong(scan *Scan, shared *Shared, key string, version uint32, versions []kms.VersionInfo, now time.Time) *Verdict {
	v := OfVersion(scan, shared, key, version, now)
	if v.Missing == "" && !scan.saw(key, versions) {
		v.Missing = fmt.Sprintf("the last scan, from %s, is not known to have seen this key: it was made anew since, or put back from a backup, or the scan is of an earlier version of this program", scan.Began.UTC().Format(time.RFC3339))
		v.Remedy = scanAgain
	}
	return v
}

// OfKey judges a whole KMS key, which may gain objects at any time: a scan covers it if
// nobody has sealed or opened anything with it since the scan began, nor so shortly before that a
// process which was killed may have done so since without a trace. last is the last use that the key
// service knows besides.
func OfKey(scan *Scan, shared *Shared, key string, last Use, now time.Time) *Verdict {
	v := judge(scan, key, 0, now)
	if v.Missing != "" {
		return v
	}
	used := later(later(shared.Last(key, 0).Latest(), shared.Beyond.Latest()), last.Latest())
	switch soon := scan.Began.Add(flushLag); {
	case !used.IsZero() && !used.Add(unstoredFor+2*time.Minute).Before(scan.Began): // it is to the minute
		v.Missing = fmt.Sprintf("the key was used at %s, and the last scan began at %s", used.UTC().Format("15:04 MST on 2006-01-02"), scan.Began.UTC().Format(time.RFC3339))
		v.Remedy = fmt.Sprintf("%s, some minutes after the last use", scanAgain)
	case now.Before(soon):
		v.Missing = "what the proxies used since the last scan began is not known yet"
		v.Remedy = fmt.Sprintf("this command again, after %s", soon.UTC().Format(time.RFC3339))
	}
	return v
}
