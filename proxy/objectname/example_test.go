package objectname_test

import (
	"fmt"

	"github.com/bucketseal/bucketseal/proxy/objectname"
)

// One object has one name, which its keys are bound to, however a client writes it.
func ExampleOf() {
	for _, key := range []string{"a/b", "/a//b", "folder__XLDIR__", "a/../b", "a//b"} {
		name, err := objectname.Of("photos", key)
		if err != nil {
			fmt.Printf("%q is no key\n", key)
			continue
		}
		fmt.Printf("%q is %q\n", key, name.Key)
	}
	// Output:
	// "a/b" is "a/b"
	// "/a//b" is "a/b"
	// "folder__XLDIR__" is "folder/"
	// "a/../b" is no key
	// "a//b" is no key
}
