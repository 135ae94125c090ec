package upstream

import (
	"encoding/xml"
	"io"
)

// maxBucketList bounds upstream's list of buckets in bytes.
const maxBucketList = 8 << 20

// BucketList is the answer of ListBuckets.
type BucketList struct {
	Owner struct {
		ID          string `xml:"ID"`
		DisplayName string `xml:"DisplayName"`
	} `xml:"Owner"`
	Buckets []struct {
		Name         string `xml:"Name"`
		CreationDate string `xml:"CreationDate"`
	} `xml:"Buckets>Bucket"`
	Token  string `xml:"ContinuationToken"`
	Prefix string `xml:"Prefix"`
}

// ParseBuckets reads an answer of ListBuckets.
func ParseBuckets(r io.Reader) (*BucketList, error) {
	list := new(BucketList)
	if err := xml.NewDecoder(io.LimitReader(r, maxBucketList)).Decode(list); err != nil {
		return nil, err
	}
	return list, nil
}
