// SPDX-License-Identifier: MIT OR Apache-2.0

// A web server: says of each request which it is, until it is asked for /quit.
package main

import (
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
)

func main() {
	address := ":8080"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	var count atomic.Int64
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		fmt.Fprintf(w, "hello %s\n", r.URL.Path[1:])
	})
	http.HandleFunc("/quit", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "served %d requests\n", count.Load())
		w.(http.Flusher).Flush()
		go os.Exit(0)
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(address, nil))
	os.Exit(1)
}
