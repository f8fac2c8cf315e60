// SPDX-License-Identifier: MIT OR Apache-2.0

// As hello.c, in C++: streams, containers, exceptions, destructors.

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

struct Told {
    ~Told() { std::cout << "a destructor ran" << std::endl; }
};

std::string file_name()
{
    const char *dir = std::getenv("TMPDIR");
    std::ostringstream name;
    name << (dir ? dir : "/tmp") << "/hello-cxx." << getpid();
    return name.str();
}

void file_test()
{
    const std::string name = file_name();
    std::ostringstream text;
    for (int i = 0; i < 100; i++)
        text << "line " << i << " of a file\n";
    std::ofstream(name) << text.str();
    std::ostringstream back;
    back << std::ifstream(name).rdbuf();
    if (unlink(name.c_str()) != 0)
        throw std::runtime_error("can't remove " + name);
    if (back.str() != text.str())
        throw std::runtime_error(name + " is not as written");
}

void fail(int depth)
{
    Told told;
    if (depth == 0)
        throw std::out_of_range("thrown");
    fail(depth - 1);
}

} // namespace

int main(int argc, char **argv)
{
    int status = 0;
    bool echo = false;
    std::vector<std::string> args(argv, argv + argc);
    std::cout << "hello from C++" << std::endl;
    args[0] = args[0].substr(args[0].rfind('/') + 1);
    for (size_t i = 0; i < args.size(); i++) {
        std::cout << "argv[" << i << "] = " << args[i] << '\n';
        echo |= args[i] == "-";
        if (args[i] == "--exit" && i + 1 < args.size())
            status = std::stoi(args[i + 1]);
    }
    const char *variable = std::getenv("HELLO_ENV");
    std::cout << "HELLO_ENV = " << (variable ? variable : "(not set)") << '\n';
    if (echo) {
        std::string line;
        while (std::getline(std::cin, line))
            std::cout << "stdin: " << line << std::endl;
    }
    try {
        fail(2);
    } catch (const std::exception &e) {
        std::cout << "caught: " << e.what() << '\n';
    }
    std::map<std::string, int> lengths;
    for (const char *word : {"isle", "proxy", "doorbell"})
        lengths[word] = std::string(word).size();
    for (const auto &[word, length] : lengths)
        std::cout << word << ' ' << length << '\n';
    try {
        file_test();
        std::cout << "file: ok" << std::endl;
    } catch (const std::exception &e) {
        std::cout << "file: FAILED" << std::endl;
        std::cerr << e.what() << std::endl;
        return 1;
    }
    return status;
}
